# SPDX-License-Identifier: Apache-2.0
"""A model onto the Hub in one commit, gone on with where an upload broke off, and its Space."""

import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from transformers import TrainingArguments

from mser_llm.hub.adapter import ADAPTER_CONFIG, build_adapter_repository
from mser_llm.hub.errors import one_message
from mser_llm.hub.repository import build_repository
from mser_llm.hub.space import write_space
from mser_llm.hub.upload import Upload, check_connection, of_path, open_repository, settings_page
from mser_llm.hub.verify import verify_pushed
from mser_llm.io.disk_errors import explain_disk_full


_ELSEWHERE = "make room there, or set TMPDIR to a folder with room for the model, and run the same command again"
# What every model, and every Space, of this project holds.
MODEL_MARK, SPACE_MARK = "configuration_mser.py", "app.py"
# What an earlier push may have left that would be read in place of the new: other shards, other code, other examples.
_OURS = re.compile(
    r"[^/]+\.safetensors(\.index\.json)?|[^/]+_mser\.py|adapter_config\.json|(widget|examples)/.+\.flac"
)


def push(
    model: str,
    repo_id: str,
    *,
    private: bool = False,
    space: bool = False,
    verify: bool = False,
    include_backbones: bool = False,
    adapter_only: bool = False,
    results: Sequence[str] = (),
    token: str | None = None,
    commit_message: str | None = None,
    show: Callable[[str], None] = print,
) -> str:
    """Publish a model; called again after a failure it goes on, and after a success sends nothing.

    Args:
        model: folder of a trained model.
        repo_id: `NAMESPACE/NAME`.
        private: make the repositories private.
        space: push a Space of the same name that shows the model.
        verify: load what was pushed into an empty cache in a process without this project, and compare its answer.
        include_backbones: send the frozen parts along.
        adapter_only: send the language model's adapters alone, for peft.
        results: `results.json` files of `run-mser evaluate`, for the card.
        token: of the Hub; by default that of the login, or of `HF_TOKEN`.
        commit_message: of the commit with the model.
        show: takes a line of what was done.

    Returns:
        the address of the model.

    Raises:
        PushError: the repository holds something else, or is public and was to be private; the token is unknown or
            may not write; no connection; what was pushed answers otherwise than the model here.
        ValueError: see `build_repository` and `build_adapter_repository`; or adapters alone were to be shown, verified
            or sent with backbones.
    """
    if adapter_only and (space or verify or include_backbones):
        raise ValueError(
            "adapters alone are no model for --space to show, --verify to load or --include_backbones to complete; "
            "leave --adapter_only out, or these"
        )
    api = HfApi(token=token)
    with one_message(repo_id, api.endpoint):
        # Before the model is loaded, which takes longer.
        check_connection(api)
    with tempfile.TemporaryDirectory(prefix="mser-push-") as temporary:
        (folder := Path(temporary, "model")).mkdir()
        address = f"{api.endpoint}/{repo_id}"
        if adapter_only:
            with explain_disk_full(folder, _ELSEWHERE):
                build_adapter_repository(model, folder, repo_id, results)
            with one_message(repo_id, api.endpoint):
                show(_send(api, repo_id, "model", folder, ADAPTER_CONFIG, commit_message, private=private))
            return address
        with explain_disk_full(folder, _ELSEWHERE):
            repository = build_repository(model, folder, repo_id, results, include_backbones)
        if not repository.clips:
            show("no examples on the card: they need the extra demo; pip install 'mser-llm[demo]'")
        with one_message(repo_id, api.endpoint):
            show(_send(api, repo_id, "model", folder, MODEL_MARK, commit_message, private=private))
        if verify:
            show(verify_pushed(repo_id, folder, repository.words))
        if space:
            (place := Path(temporary, "space")).mkdir()
            write_space(place, repo_id, repository.clips)
            with one_message(repo_id, api.endpoint):
                show(_send(api, repo_id, "space", place, SPACE_MARK, private=private))
            if private:
                settings = settings_page(api, repo_id, "space")
                show(
                    f"the Space can load a private model with a token alone: give it the secret HF_TOKEN at {settings}"
                )
    return address


def push_run(arguments: TrainingArguments, **options: Any) -> str:
    """Publish what a training wrote, to where its arguments say (`hub_model_id`, `hub_private_repo`, `hub_token`).

    Args:
        arguments: of the training.
        options: of `push`.
    """
    options = {"private": bool(arguments.hub_private_repo), "token": arguments.hub_token} | options
    repo_id = hub_model_id(HfApi(token=options["token"]), arguments)
    return push(str(arguments.output_dir), repo_id, **options)


def hub_model_id(api: HfApi, arguments: TrainingArguments) -> str:
    """Where a training is to be published: by default under the folder's name, and in the user's own namespace."""
    name = arguments.hub_model_id or Path(str(arguments.output_dir)).absolute().name
    if "/" in name:
        return name
    with one_message(name, api.endpoint):
        check_connection(api)
        return f"{api.whoami()['name']}/{name}"


def _send(
    api: HfApi, repo_id: str, kind: str, folder: Path, mark: str, message: str | None = None, *, private: bool
) -> str:
    """One commit with what is missing, so that nobody ever loads half of a new model and half of an old one."""
    _, remote = open_repository(api, repo_id, kind, private=private, is_ours=lambda files: mark in files)
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    uploads = [of_path(folder, name) for name in files]
    missing = [upload for upload in uploads if not upload.is_there(remote.get(upload.path))]
    stale = [name for name in remote if name not in files and _OURS.fullmatch(name)]
    if not missing and not stale:
        return f"{kind} {repo_id}: all {len(files)} files are there already"
    operations: list[Any] = [CommitOperationAdd(upload.path, upload.content) for upload in missing]
    operations += [CommitOperationDelete(name) for name in stale]
    message = message or f"{kind.capitalize()} by mser-llm"
    api.create_commit(repo_id, operations, repo_type=kind, commit_message=message)
    return f"{kind} {repo_id}: {len(missing)} of {len(files)} files sent ({_size(missing)})"


def _size(uploads: Sequence[Upload]) -> str:
    size = sum(upload.size for upload in uploads)
    return f"{size / 1e6:.1f} MB" if size < 1e9 else f"{size / 1e9:.2f} GB"
