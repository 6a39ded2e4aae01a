# SPDX-License-Identifier: Apache-2.0
"""Push a model to the Hub in one commit, and its Space."""

import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

from mser_llm.hub.repository import ADAPTER_CONFIG, build_adapter_repository, build_repository
from mser_llm.hub.space import write_space
from mser_llm.hub.upload import check_connection, hub_errors, open_repository, settings_page
from mser_llm.hub.verify import verify_pushed
from mser_llm.io.disk_errors import explain_disk_full
from mser_llm.io.errors import InputError


if TYPE_CHECKING:
    from transformers import TrainingArguments

_DISK_FIX = "free space there, or set TMPDIR to a folder with space for the model, and run the same command again"
# Files that every model, and every Space, of this project has.
MODEL_FILE, SPACE_FILE = "configuration_mser.py", "app.py"
# Files of an earlier push that would be read instead of the new ones: other shards, other code, other examples.
_STALE = re.compile(
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
    """Publish a model. A second call resumes after a failure, and uploads nothing after a success.

    Args:
        model: folder of a trained model.
        repo_id: `NAMESPACE/NAME`.
        private: make the repositories private.
        space: push a Space of the same name that shows the model.
        verify: load the pushed model into an empty cache, in a process without this project, and compare its scores.
        include_backbones: upload the frozen parts, too.
        adapter_only: upload only the adapters of the language model, in peft's format.
        results: paths of `results.json` files of `run-mser evaluate`, for the card.
        token: token of the Hub; by default that of the login or of `HF_TOKEN`.
        commit_message: message of the commit with the model.
        show: called with a line about each step.

    Returns:
        The address of the model.

    Raises:
        PushError: the repository contains something else, or is public although `private` is set; the token is
            invalid or read-only; there is no connection; the scores of the pushed model differ.
        InputError: see `build_repository` and `build_adapter_repository`; or `adapter_only` is combined with `space`,
            `verify` or `include_backbones`.
    """
    if adapter_only and (space or verify or include_backbones):
        raise InputError(
            "--adapter_only",
            "adapters alone cannot be shown, verified or completed with backbones",
            "leave out --adapter_only, or --space, --verify and --include_backbones",
        )
    api = HfApi(token=token)
    with hub_errors(repo_id, api.endpoint):
        # Before the model is loaded, which takes longer.
        check_connection(api)
    with tempfile.TemporaryDirectory(prefix="mser-push-") as temporary:
        (folder := Path(temporary, "model")).mkdir()
        address = f"{api.endpoint}/{repo_id}"
        if adapter_only:
            with explain_disk_full(folder, _DISK_FIX):
                build_adapter_repository(model, folder, repo_id, results)
            show(_commit(api, repo_id, "model", folder, ADAPTER_CONFIG, commit_message, private=private))
            return address
        with explain_disk_full(folder, _DISK_FIX):
            labels, clips = build_repository(model, folder, repo_id, results, include_backbones)
        if not clips:
            show("no examples on the card: they need the extra demo; pip install 'mser-llm[demo]'")
        show(_commit(api, repo_id, "model", folder, MODEL_FILE, commit_message, private=private))
        if verify:
            show(verify_pushed(repo_id, folder, labels))
        if space:
            (place := Path(temporary, "space")).mkdir()
            write_space(place, repo_id, clips)
            show(_commit(api, repo_id, "space", place, SPACE_FILE, private=private))
            if private:
                settings = settings_page(api, repo_id, "space")
                show(f"the Space needs a token to load a private model: add the secret HF_TOKEN at {settings}")
    return address


def push_run(arguments: "TrainingArguments", **options: Any) -> str:
    """Publish the model of a training; `options` of `push` override those of its arguments."""
    options = {"private": bool(arguments.hub_private_repo), "token": arguments.hub_token} | options
    repo_id = hub_model_id(HfApi(token=options["token"]), arguments)
    return push(str(arguments.output_dir), repo_id, **options)


def hub_model_id(api: HfApi, arguments: "TrainingArguments") -> str:
    """Return the id that a training is published under: by default its folder's name in the user's own namespace."""
    name = arguments.hub_model_id or Path(str(arguments.output_dir)).absolute().name
    if "/" in name:
        return name
    with hub_errors(name, api.endpoint):
        check_connection(api)
        return f"{api.whoami()['name']}/{name}"


def open_model_repository(api: HfApi, repo_id: str, private: bool) -> None:
    """Create the repository of a model, or check that the existing one may be written to; errors as `push`."""
    with hub_errors(repo_id, api.endpoint):
        open_repository(api, repo_id, "model", private=private, is_ours=lambda files: MODEL_FILE in files)


def _commit(
    api: HfApi, repo_id: str, kind: str, folder: Path, mark: str, message: str | None = None, *, private: bool
) -> str:
    """
    Upload a folder in one commit, so that nobody loads a mix of an old and a new model.

    `create_commit` skips files that the Hub already has; `upload_folder` would split large folders into several
    commits.
    """
    with hub_errors(repo_id, api.endpoint):
        found, remote = open_repository(api, repo_id, kind, private=private, is_ours=lambda files: mark in files)
        files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        operations: list[Any] = [CommitOperationAdd(name, folder / name) for name in files]
        operations += [CommitOperationDelete(name) for name in remote if name not in files and _STALE.fullmatch(name)]
        message = message or f"{kind.capitalize()} by mser-llm"
        commit = api.create_commit(repo_id, operations, repo_type=kind, commit_message=message)
    if commit.oid == found.sha:
        return f"{kind} {repo_id}: all {len(files)} files are up to date"
    size = sum((folder / name).stat().st_size for name in files)
    shown = f"{size / 1e6:.1f} MB" if size < 1e9 else f"{size / 1e9:.2f} GB"
    return f"{kind} {repo_id}: pushed {len(files)} files ({shown}) in commit {commit.oid[:8]}"
