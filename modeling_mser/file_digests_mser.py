# SPDX-License-Identifier: Apache-2.0
"""Record the SHA-256 of a checkpoint's files on saving, and verify it on loading.

`modeling_mser` and `processing_mser` have identical copies of this file, because neither imports the other. A saved
folder has one. Model and processor record their files separately, as either can be saved or pushed alone.
"""

import hashlib
import json
import os
import re
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub.errors import LocalEntryNotFoundError
from transformers.utils import cached_file


MODEL_DIGESTS = "model_digests.json"
PROCESSOR_DIGESTS = "processor_digests.json"
# Files that transformers reads from a folder, including files added after saving.
_READ = {
    MODEL_DIGESTS: re.compile(
        r"(config|generation_config|adapter_config)\.json|(adapter_)?model\.safetensors(\.index\.json)?|"
        r"(adapter_)?model-\d{5}-of-\d{5}\.safetensors"
    ),
    PROCESSOR_DIGESTS: re.compile(
        r"(processor|preprocessor|audio_tokenizer)_config\.json|tokenizer(_config)?\.json|special_tokens_map\.json|"
        r"added_tokens\.json|vocab\.(json|txt)|merges\.txt|[\w.-]+\.model|tekken\.json|chat_template\.(json|jinja)"
    ),
}
_BLOCK = 1 << 20
_HUB_OPTIONS = ("cache_dir", "local_files_only", "revision", "subfolder", "token")


class ModifiedFilesError(ValueError):
    """A file of a checkpoint was modified, is missing, or was added."""


def write_digests(directory: str | os.PathLike[str], record: str) -> None:
    """Record size and SHA-256 of the files that affect predictions in `MODEL_DIGESTS` or `PROCESSOR_DIGESTS`."""
    folder = Path(directory)
    paths = sorted(path for path in folder.iterdir() if path.is_file() and _READ[record].fullmatch(path.name))
    files = {path.name: facts for path, facts in zip(paths, _facts(paths))}
    (folder / record).write_text(json.dumps({"files": files}, indent=2) + "\n", encoding="utf-8")


def find_file(path_or_id: str | os.PathLike[str], name: str, **options: Any) -> Path | None:
    """
    Find a file of a folder or a Hub repository, downloading it if needed. Options are those of `cached_file`.

    Return `None` if there is no such file, or if it is not cached and the Hub is unreachable.
    """
    try:
        file = cached_file(path_or_id, name, **options)
    except OSError as error:
        # `cached_file` reports an absent file without a cause and without an error number.
        if error.errno is None and isinstance(error.__cause__, LocalEntryNotFoundError | None):
            return None
        raise
    return None if file is None else Path(file)


def modified_files(
    path_or_id: str | os.PathLike[str], record: str, only: str | None = None, **options: Any
) -> list[str]:
    """
    Compare the files of a checkpoint, or `only` one of them, with what was recorded on saving them.

    Returns:
        One text per file that differs, which begins with its path; an empty list if none does.

    Raises:
        OSError: the Hub cannot be reached, or a file cannot be read.
    """
    place = os.fspath(path_or_id)
    hub = {name: options[name] for name in _HUB_OPTIONS if options.get(name) is not None}
    shown = os.path.join(place, options.get("subfolder") or "", "")
    found = find_file(place, record, **hub)
    if found is None:
        return [f"{shown}{record} is missing, which records the other files"] if only is None else []
    recorded = _read_record(found)
    if recorded is None:
        return [f"{shown}{record} is damaged"]
    recorded = {name: facts for name, facts in recorded.items() if only in (None, name)}
    paths = {name: file for name in recorded if (file := find_file(place, name, **hub)) is not None}
    differing = [f"{shown}{name} is missing, which {record} lists" for name in recorded if name not in paths]
    for (name, path), facts in zip(paths.items(), _facts(paths.values())):
        if facts["size"] != (size := recorded[name]["size"]):
            differing.append(
                f"{shown}{name} has {facts['size']} bytes instead of the {size} in {record}{_pointer(path)}"
            )
        elif facts["sha256"] != recorded[name]["sha256"]:
            differing.append(f"{shown}{name} was modified after it was saved (its SHA-256 differs from {record})")
    differing += [
        f"{shown}{path.name} was added after {record} was written"
        for path in sorted(found.parent.iterdir())
        if _READ[record].fullmatch(path.name) and path.name not in recorded and only in (None, path.name)
    ]
    return differing


@contextmanager
def verified_files(
    path_or_id: str | os.PathLike[str], record: str, accept_modified: bool = False, **options: Any
) -> Iterator[None]:
    """
    Verify a checkpoint's files, then load from it in the block. `accept_modified` makes the error a warning.

    Raises:
        ModifiedFilesError: a file differs and that is not accepted, or it cannot be loaded.
        OSError: as in `modified_files`.
    """
    differing = modified_files(path_or_id, record, **options)
    if record == PROCESSOR_DIGESTS:
        # A tokenizer also reads the model's configuration, if there is one.
        differing += modified_files(path_or_id, MODEL_DIGESTS, only="config.json", **options)
    if not differing:
        yield
        return
    summary = differing[0] + (f" (and {len(differing) - 1} more files differ)" if len(differing) > 1 else "")
    if not accept_modified:
        raise ModifiedFilesError(
            f"{summary}; copy or train the model again, or, after a deliberate change, load it in Python with "
            "accept_modified_files=True and save it again"
        )
    warnings.warn(f"loading modified files: {'; '.join(differing)}", stacklevel=3)
    try:
        yield
    except Exception as error:
        # Unexpected content can raise any error. Those that name the checkpoint are passed on.
        if isinstance(error, (OSError, ValueError)) and os.fspath(path_or_id) in str(error):
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModifiedFilesError(f"{summary}, and cannot be loaded: {reason}") from error


def pop_push_arguments(save_directory: str | os.PathLike[str], arguments: dict[str, Any]) -> dict[str, Any] | None:
    """
    Remove the Hub arguments from those of `save_pretrained`, which would upload before the digests are written.

    Return them as arguments for `push_to_hub`, or `None` if nothing is uploaded.
    """
    names = ("repo_id", "commit_message", "create_pr", "private", "revision", "token")
    if not arguments.pop("push_to_hub", False):
        return None
    given = {name: arguments.pop(name) for name in names if name in arguments}
    return {"repo_id": Path(save_directory).name} | given


def _pointer(file: Path) -> str:
    with open(file, "rb") as content:
        is_pointer = content.read(40).startswith(b"version https://git-lfs")
    return "; it is a pointer of git-lfs, run `git lfs pull` there" if is_pointer else ""


def _read_record(file: Path) -> dict[str, dict[str, Any]] | None:
    try:
        files = json.loads(file.read_text(encoding="utf-8"))["files"]
        return {
            # A name with a slash could lead out of the folder.
            name: {"sha256": str(facts["sha256"]), "size": int(facts["size"])}
            for name, facts in files.items()
            if os.path.basename(name) == name
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _facts(files: Iterable[Path]) -> list[dict[str, Any]]:
    """Return SHA-256 and size of files, in parallel: Python releases its lock while it hashes."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(lambda file: {"sha256": file_digest(file), "size": file.stat().st_size}, files))


def file_digest(file: Path) -> str:
    """Hash a file with SHA-256."""
    digest = hashlib.sha256()
    with open(file, "rb") as content:
        while block := content.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
