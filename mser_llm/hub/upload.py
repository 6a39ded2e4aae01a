# SPDX-License-Identifier: Apache-2.0
"""Files that are to lie in a repository of the Hub: whether it may take them, and which lie there already."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, get_session
from huggingface_hub.errors import RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile

from mser_llm.hub.errors import PushError
from mser_llm.io.hashing import file_sha256


_SECONDS_TO_ANSWER = 10.0
# What the Hub itself, or its form for a new repository, puts into an empty one.
_EMPTY = {".gitattributes", "README.md"}


@dataclass(frozen=True)
class Upload:
    """A file of the repository: where it is to lie, its content, and its two hashes."""

    path: str
    content: Path | bytes
    size: int
    sha256: str

    @property
    def git_oid(self) -> str:
        data = self.content if isinstance(self.content, bytes) else self.content.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()

    def is_there(self, remote: Any) -> bool:
        """Whether a file of the Hub's tree is this one."""
        if remote is None or remote.size != self.size:
            return False
        return remote.lfs.sha256 == self.sha256 if remote.lfs else remote.blob_id == self.git_oid


def of_path(root: Path, name: str) -> Upload:
    """The file `name` of a folder, under the same name."""
    path = root / name
    return Upload(name, path, path.stat().st_size, file_sha256(path))


def of_bytes(name: str, content: bytes) -> Upload:
    """A file that is in memory."""
    return Upload(name, content, len(content), hashlib.sha256(content).hexdigest())


def check_connection(api: HfApi) -> None:
    """Raises httpx's error within seconds where the Hub does not answer; the libraries wait for minutes."""
    get_session().head(api.endpoint, timeout=_SECONDS_TO_ANSWER)


def open_repository(
    api: HfApi, repo_id: str, kind: str, *, private: bool, is_ours: Callable[[Mapping[str, RepoFile]], bool]
) -> tuple[Any, dict[str, RepoFile]]:
    """Make a repository, or look whether the one that exists may be written to.

    Args:
        api: of the Hub.
        repo_id: `NAMESPACE/NAME`.
        kind: `model`, `dataset` or `space`.
        private: make it private; one that exists has to be.
        is_ours: whether the files of one that is not empty are what is going to be written there.

    Returns:
        what the Hub says of it, and its files by path.

    Raises:
        PushError: `repo_id` has no namespace, or it is public and was to be private, or holds something else.
    """
    if "/" not in repo_id:
        raise PushError(f"{repo_id}: names no namespace; give --repo_id NAMESPACE/NAME, such as me/{repo_id}")
    check_connection(api)
    try:
        found = api.repo_info(repo_id, repo_type=kind)
    except RepositoryNotFoundError:
        sdk = "gradio" if kind == "space" else None
        api.create_repo(repo_id, repo_type=kind, private=private or None, space_sdk=sdk)
        found = api.repo_info(repo_id, repo_type=kind)
    tree = api.list_repo_tree(repo_id, repo_type=kind, recursive=True)
    files = {file.path: file for file in tree if isinstance(file, RepoFile)}
    settings = settings_page(api, repo_id, kind)
    if private and not found.private:
        raise PushError(f"{repo_id}: exists and is public; make it private at {settings}, or choose another --repo_id")
    others = set(files) - _EMPTY
    if others and not is_ours(files):
        raise PushError(
            f"{repo_id}: exists and holds something else ({len(others)} files); choose another --repo_id, or delete "
            f"it at {settings}"
        )
    return found, files


def settings_page(api: HfApi, repo_id: str, kind: str) -> str:
    """Where a person changes or deletes a repository."""
    return f"{api.endpoint}/{'' if kind == 'model' else kind + 's/'}{repo_id}/settings"
