# SPDX-License-Identifier: Apache-2.0
"""Publish a built folder on the Hub: validate first, resume after a failure.

The first commit contains the manifest and the recipe, which identify the repository; the shards follow in several
commits; the card comes last. Files with the same hash on the Hub are not sent again, and after an interrupted commit
the Hub keeps the complete files. (huggingface_hub 2 has no `upload_large_folder`, and without Xet `upload_folder`
creates one commit for everything.)
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import CommitOperationAdd, HfApi
from tqdm.auto import tqdm

from mser_llm.data.licenses import source_terms, translator_terms, without_redistribution
from mser_llm.data.m5ser_reader import read_manifest
from mser_llm.hub.upload import PushError, hub_errors, open_repository, settings_page
from mser_llm.io.hashing import file_sha256
from mser_llm.m5ser.card import CARD, count_clips, render_card
from mser_llm.m5ser.manifest import MANIFEST, hash_of


# An absolute path, or one in a home directory, anywhere in a text such as a command.
_PATH = re.compile(r"(?<![\w.:/])(?:~|/)[^\s'\"]*")
RECIPE = "config.yaml"
# Larger commits take longer than a connection may last, smaller ones are too many for the Hub.
_COMMIT_FILES, _COMMIT_BYTES = 50, 5_000_000_000


@dataclass(frozen=True)
class Upload:
    """A file to upload: its path in the repository, its content and its hashes."""

    path: str
    content: Path | bytes
    size: int
    sha256: str

    @property
    def git_oid(self) -> str:
        data = self.content if isinstance(self.content, bytes) else self.content.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()

    def matches(self, remote: Any) -> bool:
        """Whether a file of the repository is equal to this one."""
        if remote is None or remote.size != self.size:
            return False
        return remote.lfs.sha256 == self.sha256 if remote.lfs else remote.blob_id == self.git_oid


def of_path(root: Path, name: str) -> Upload:
    """Return the file `name` of a folder."""
    path = root / name
    return Upload(name, path, path.stat().st_size, file_sha256(path))


def of_bytes(name: str, content: bytes) -> Upload:
    """Return a file from memory."""
    return Upload(name, content, len(content), hashlib.sha256(content).hexdigest())


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
        remote = _prepare(api, repo_id, uploads[0], private=private, gated=gated, recipe_only=recipe_only)
        missing = [upload for upload in uploads if not upload.matches(remote.get(upload.path))]
        for number, batch in enumerate(batches := list(_commits(missing)), start=1):
            api.create_commit(
                repo_id,
                [CommitOperationAdd(upload.path, upload.content) for upload in batch],
                repo_type="dataset",
                commit_message=f"M5SER {manifest['manifest_hash'][:12]}, part {number} of {len(batches)}",
            )
    return f"{api.endpoint}/datasets/{repo_id}"


def verify_shards(root: Path, manifest: dict[str, Any]) -> None:
    """Compare every shard and its rejects with their hashes in the manifest, and the manifest with its own.

    Raises:
        PushError: a file differs.
    """
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
    counts = count_clips(root, manifest)
    terms = [*map(source_terms, sorted(counts.sources)), translator_terms(manifest["config"]["translator"])]
    names = [f"{one.name} ({one.license})" for one in without_redistribution(terms)]
    if names:
        raise PushError(
            root,
            f"must not be published, because these forbid redistribution: {', '.join(names)}",
            "pass --private to keep it to yourself, or --recipe_only to publish how it is built without its audio",
        )


def public_recipe(root: Path) -> bytes:
    """Return `config.yaml` with every path of this machine replaced by PATH.

    Raises:
        PushError: the file is missing or damaged.
    """

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


def _uploads(root: Path, manifest: dict[str, Any], repo_id: str, recipe_only: bool) -> list[Upload]:
    """List the uploads in order: the manifest first, the card last."""
    card = (root / CARD).read_text(encoding="utf-8") if (root / CARD).is_file() else render_card(root)
    if recipe_only or card == render_card(root):
        # Not edited by the user, so its example can name the repository.
        card = render_card(root, repo_id, recipe_only)
    uploads = [of_path(root, MANIFEST), of_bytes(RECIPE, public_recipe(root))]
    if not recipe_only:
        for shard in manifest["shards"]:
            uploads.append(Upload(shard["path"], root / shard["path"], shard["bytes"], shard["sha256"]))
        rejects = sorted((root / "rejects").glob("*.parquet"))
        uploads += [of_path(root, file.relative_to(root).as_posix()) for file in rejects]
    return [*uploads, of_bytes(CARD, card.encode())]


def _prepare(
    api: HfApi, repo_id: str, manifest: Upload, *, private: bool, gated: bool, recipe_only: bool
) -> dict[str, Any]:
    """Create the repository or check the existing one; return its files by path."""
    found, files = open_repository(
        api, repo_id, "dataset", private=private, is_ours=lambda files: manifest.matches(files.get(MANIFEST))
    )
    if recipe_only and any(path.startswith("data/") for path in files):
        raise PushError(
            repo_id,
            "exists and contains the audio already",
            f"pass another --repo_id, or delete it at {settings_page(api, repo_id, 'dataset')}",
        )
    if gated and not found.gated:
        api.update_repo_settings(repo_id, repo_type="dataset", gated="auto")
    return files


def _commits(uploads: Sequence[Upload]) -> Iterator[list[Upload]]:
    """Divide the uploads into commits: the manifest and the recipe, then the shards, then the card."""
    batch: list[Upload] = []
    for upload in uploads:
        new_commit = upload.path == CARD or (batch and batch[-1].path in (MANIFEST, RECIPE) and upload.path != RECIPE)
        full = len(batch) == _COMMIT_FILES or sum(one.size for one in batch) + upload.size > _COMMIT_BYTES
        if batch and (new_commit or full):
            yield batch
            batch = []
        batch.append(upload)
    if batch:
        yield batch
