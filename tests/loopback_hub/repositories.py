# SPDX-License-Identifier: Apache-2.0
"""State of the loopback Hub: users, repositories, commits and files."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


# Files that the Hub stores with LFS: those in its default .gitattributes, and others from this size.
LFS_SUFFIXES = (".parquet", ".safetensors", ".bin", ".model", ".npz", ".tar", ".zip", ".gz", ".flac", ".wav", ".mp3")
LFS_BYTES = 10 << 20
DATE = "2026-01-01T00:00:00.000Z"


@dataclass(frozen=True)
class Token:
    """A user, the namespaces whose private repositories they can read, and whether they can write there."""

    user: str
    namespaces: tuple[str, ...]
    write: bool = True


@dataclass(frozen=True)
class Blob:
    data: bytes
    lfs: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def oid(self) -> str:
        """The object id of git; for LFS, that of the pointer file."""
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(self.data)}\n"
        content = pointer.encode() if self.lfs else self.data
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.oid

    def entry(self, path: str) -> dict[str, Any]:
        lfs = {"oid": self.sha256, "size": len(self.data), "pointerSize": 134}
        return {"type": "file", "path": path, "oid": self.oid, "size": len(self.data)} | (
            {"lfs": lfs} if self.lfs else {}
        )


@dataclass(frozen=True)
class Commit:
    oid: str
    title: str
    files: Mapping[str, Blob]


@dataclass
class Repo:
    kind: str
    name: str
    private: bool = False
    gated: str | bool = False
    commits: list[Commit] = field(default_factory=list)

    def commit(self, title: str, files: Mapping[str, Blob]) -> Commit:
        parts = [self.name, str(len(self.commits)), title, *(f"{path} {blob.oid}" for path, blob in files.items())]
        oid = hashlib.sha1("\n".join(parts).encode()).hexdigest()
        self.commits.append(Commit(oid, title, dict(files)))
        return self.commits[-1]

    @property
    def files(self) -> Mapping[str, Blob]:
        return self.commits[-1].files

    @property
    def namespace(self) -> str:
        return self.name.split("/")[0]
