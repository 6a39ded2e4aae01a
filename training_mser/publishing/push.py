# SPDX-License-Identifier: Apache-2.0
"""A model onto the Hub in one commit, gone on with where an upload broke off, and its Space."""

import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

from data_mser.hub_errors import one_message
from data_mser.hub_upload import Upload, check_connection, of_path, open_repository

from .repository import build_repository
from .space import write_space
from .verify import verify_pushed


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
    results: Sequence[str] = (),
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
        results: `results.json` files of `run-mser evaluate`, for the card.
        show: takes a line of what was done.

    Returns:
        the address of the model.

    Raises:
        PushError: the repository holds something else, or is public and was to be private; the token is unknown or
            may not write; no connection; what was pushed answers otherwise than the model here.
        ValueError: see `build_repository`.
    """
    api = HfApi()
    with one_message(repo_id, api.endpoint):
        # Before the model is loaded, which takes longer.
        check_connection(api)
    with tempfile.TemporaryDirectory(prefix="mser-push-") as temporary:
        (folder := Path(temporary, "model")).mkdir()
        repository = build_repository(model, folder, repo_id, results, include_backbones)
        if not repository.clips:
            show("no examples on the card: they need the extra demo; pip install 'mser-llm[demo]'")
        with one_message(repo_id, api.endpoint):
            show(_send(api, repo_id, "model", folder, private=private))
        address = f"{api.endpoint}/{repo_id}"
        if verify:
            show(verify_pushed(repo_id, folder, repository.words))
        if space:
            (place := Path(temporary, "space")).mkdir()
            write_space(place, repo_id, repository.clips)
            with one_message(repo_id, api.endpoint):
                show(_send(api, repo_id, "space", place, private=private))
    return address


def _send(api: HfApi, repo_id: str, kind: str, folder: Path, *, private: bool) -> str:
    """One commit with what is missing, so that nobody ever loads half of a new model and half of an old one."""
    # What every model, and every Space, of this project holds.
    mark = "configuration_mser.py" if kind == "model" else "app.py"
    _, remote = open_repository(api, repo_id, kind, private=private, is_ours=lambda files: mark in files)
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    uploads = [of_path(folder, name) for name in files]
    missing = [upload for upload in uploads if not upload.is_there(remote.get(upload.path))]
    stale = [name for name in remote if name not in files and _OURS.fullmatch(name)]
    if not missing and not stale:
        return f"{kind} {repo_id}: all {len(files)} files are there already"
    operations: list[Any] = [CommitOperationAdd(upload.path, upload.content) for upload in missing]
    operations += [CommitOperationDelete(name) for name in stale]
    api.create_commit(repo_id, operations, repo_type=kind, commit_message=f"{kind.capitalize()} by mser-llm")
    return f"{kind} {repo_id}: {len(missing)} of {len(files)} files sent ({_size(missing)})"


def _size(uploads: Sequence[Upload]) -> str:
    size = sum(upload.size for upload in uploads)
    return f"{size / 1e6:.1f} MB" if size < 1e9 else f"{size / 1e9:.2f} GB"
