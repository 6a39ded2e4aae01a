# SPDX-License-Identifier: Apache-2.0
"""Publish a built folder on the Hub: validate first, resume after a failure.

The first commit contains the manifest and the recipe, which identify the repository; the shards follow in several
commits; the card comes last. Files with the same hash on the Hub are not sent again, and after an interrupted commit
the Hub keeps the complete files. (huggingface_hub 2 has no `upload_large_folder`, and without Xet `upload_folder`
creates one commit for everything.)
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.hf_api import RepoFile
from tqdm.auto import tqdm

from mser_llm.data.licenses import source_terms, translator_terms
from mser_llm.data.m5ser_reader import MANIFEST, read_manifest
from mser_llm.hub.upload import PushError, hub_errors, open_repository, settings_page
from mser_llm.io.hashing import file_sha256
from mser_llm.m5ser.card import CARD, ClipCounts, render_card
from mser_llm.m5ser.manifest import hash_of


# An absolute path, or one in a home directory, anywhere in a text such as a command.
_PATH = re.compile(r"(?<![\w.:/])(?:~|/)[^\s'\"]*")
RECIPE = "config.yaml"
# Larger commits take longer than a connection may last, smaller ones are too many for the Hub.
_COMMIT_FILES, _COMMIT_BYTES = 50, 5_000_000_000


def push(
    folder: str | Path, repo_id: str, *, private: bool = False, gated: bool = False, recipe_only: bool = False
) -> str:
    """Publish a built folder as a data set. Called again, it sends only what is missing.

    Args:
        folder: of a finished build.
        repo_id: `NAMESPACE/NAME`.
        private: whether to make the repository private.
        gated: whether users have to accept the conditions on the card.
        recipe_only: whether to send the manifest, the configuration and the card only, without audio.

    Returns:
        The URL of the data set.

    Raises:
        PushError: a file differs from the manifest; there is no clip; the license of a source forbids it; the
            repository contains something else, or is public instead of private; the token is unknown or has no write
            access; no connection.
    """
    if private and gated:
        raise PushError("--private, --gated", "exclude each other", "pass one")
    root = Path(folder).expanduser()
    manifest = read_manifest(root)
    verify_shards(root, manifest)
    if not (manifest["rows"] or recipe_only):
        raise PushError(root, f"contains no clip ({CARD} counts why)", "build it with other filters")
    if not private and not recipe_only:
        reject_forbidden(root, manifest)
    uploads = _uploads(root, manifest, repo_id, recipe_only)
    api = HfApi()
    with hub_errors(repo_id, api.endpoint):
        _prepare(api, repo_id, root, private=private, gated=gated, recipe_only=recipe_only)
        for number, batch in enumerate(batches := list(_commits(uploads)), start=1):
            # Skips equal files, and the whole commit if all are equal.
            api.create_commit(
                repo_id,
                batch,
                repo_type="dataset",
                commit_message=f"M5SER {manifest['manifest_hash'][:12]}, part {number} of {len(batches)}",
            )
    return f"{api.endpoint}/datasets/{repo_id}"


def verify_shards(root: Path, manifest: dict[str, Any]) -> None:
    """Compare every shard and its rejects with their hashes in the manifest, and the manifest with its own."""
    if hash_of({key: value for key, value in manifest.items() if key != "manifest_hash"}) != manifest["manifest_hash"]:
        raise PushError(root / MANIFEST, "was changed after the build", "run the build again, which rewrites it")
    total = sum(shard["bytes"] for shard in manifest["shards"])
    with tqdm(total=total, desc="Verifying", unit="B", unit_scale=True) as bar:
        for shard in manifest["shards"]:
            path = root / shard["path"]
            if not path.is_file():
                raise PushError(path, "is missing, although the manifest lists it", "run the build again")
            if file_sha256(path, bar) != shard["sha256"]:
                raise PushError(path, "differs from the manifest", "delete it and run the build again")
            rejects = root / shard["rejects_path"]
            if not rejects.is_file() or file_sha256(rejects) != shard["rejects_sha256"]:
                raise PushError(rejects, "differs from the manifest", f"delete {path} and run the build again")


def reject_forbidden(root: Path, manifest: dict[str, Any]) -> None:
    """Raise a PushError if the license of a source, or of the translator, forbids redistribution."""
    sources = ClipCounts(root, manifest).sources
    terms = [*map(source_terms, sources), translator_terms(manifest["config"]["translator"])]
    names = [f"{one.name} ({one.license})" for one in terms if not one.redistribution]
    if names:
        raise PushError(
            root,
            f"must not be published, because these forbid redistribution: {', '.join(names)}",
            "pass --private to keep it to yourself, or --recipe_only to publish how it is built without its audio",
        )


def public_recipe(root: Path) -> bytes:
    """Return `config.yaml` with every path of this machine replaced by PATH."""

    def public(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: public(item) for key, item in value.items()}
        if isinstance(value, list):
            return [public(item) for item in value]
        return _PATH.sub("PATH", value) if isinstance(value, str) else value

    try:
        recipe = yaml.safe_load((root / RECIPE).read_text(encoding="utf-8"))
        recipe["corpora"] = [f"{corpus.partition('=')[0]}=PATH" for corpus in recipe["corpora"]]
        recipe["output_dir"] = "PATH"
        recipe = public(recipe)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError) as error:
        reason = "is missing" if isinstance(error, FileNotFoundError) else "is damaged"
        raise PushError(root / RECIPE, reason, "run the build again, which rewrites it") from error
    return yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True).encode()


def _uploads(root: Path, manifest: dict[str, Any], repo_id: str, recipe_only: bool) -> list[CommitOperationAdd]:
    """List the uploads in order: the manifest first, the card last."""
    card = (root / CARD).read_text(encoding="utf-8") if (root / CARD).is_file() else render_card(root)
    if recipe_only or card == render_card(root):
        # Not edited by the user, so its example can name the repository.
        card = render_card(root, repo_id, recipe_only)
    names = [MANIFEST]
    if not recipe_only:
        names += [shard["path"] for shard in manifest["shards"]]
        names += [file.relative_to(root).as_posix() for file in sorted((root / "rejects").glob("*.parquet"))]
    uploads = [CommitOperationAdd(name, root / name) for name in names]
    uploads.insert(1, CommitOperationAdd(RECIPE, public_recipe(root)))
    return [*uploads, CommitOperationAdd(CARD, card.encode())]


def _prepare(api: HfApi, repo_id: str, root: Path, *, private: bool, gated: bool, recipe_only: bool) -> None:
    """Create the repository, or check that the existing one contains this build."""
    manifest = (root / MANIFEST).read_bytes()

    def is_ours(files: Mapping[str, RepoFile]) -> bool:
        remote = files.get(MANIFEST)
        if remote is None:
            return False
        if remote.lfs:
            return remote.lfs.sha256 == hashlib.sha256(manifest).hexdigest()
        return remote.blob_id == hashlib.sha1(b"blob %d\0" % len(manifest) + manifest).hexdigest()

    found, files = open_repository(api, repo_id, "dataset", private=private, is_ours=is_ours)
    if recipe_only and any(path.startswith("data/") for path in files):
        raise PushError(
            repo_id,
            "exists and contains the audio already",
            f"pass another --repo_id, or delete it at {settings_page(api, repo_id, 'dataset')}",
        )
    if gated and not found.gated:
        api.update_repo_settings(repo_id, repo_type="dataset", gated="auto")


def _commits(uploads: Sequence[CommitOperationAdd]) -> Iterator[list[CommitOperationAdd]]:
    """Divide the uploads into commits: the manifest and the recipe, then the shards, then the card."""
    batch: list[CommitOperationAdd] = []
    size = 0
    for upload in uploads:
        name, bytes_added = upload.path_in_repo, upload.upload_info.size
        new_part = name == CARD or (batch and batch[-1].path_in_repo in (MANIFEST, RECIPE) and name != RECIPE)
        if batch and (new_part or len(batch) == _COMMIT_FILES or size + bytes_added > _COMMIT_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(upload)
        size += bytes_added
    yield batch
