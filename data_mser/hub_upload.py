# SPDX-License-Identifier: Apache-2.0
"""A file that is to lie in a repository of the Hub, and whether it lies there already."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm


_BLOCK = 1 << 20


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
    return Upload(name, path, path.stat().st_size, sha256_of(path))


def of_bytes(name: str, content: bytes) -> Upload:
    """A file that is in memory."""
    return Upload(name, content, len(content), hashlib.sha256(content).hexdigest())


def sha256_of(path: Path, bar: tqdm | None = None) -> str:
    """The SHA-256 of a file's content; the bar goes on by the bytes that were read."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            if bar is not None:
                bar.update(len(block))
    return digest.hexdigest()
