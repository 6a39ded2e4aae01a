# SPDX-License-Identifier: Apache-2.0
"""Shards: where they are, when one is whole, and who may write it.

One rank of the pipeline is one shard. A shard is there, under its name, only when it is whole: it is written under
another name, brought to disk and renamed. Its rejects are written before it, so that a shard implies its rejects. Each
file carries the build that it is of, and a file of another build is never taken for one of this.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from mser_llm.m5ser.build_config import BuildConfig


_BUILD_KEY = b"m5ser"
_LANGUAGE_KEY = b"m5ser.shard"


@dataclass(frozen=True)
class Shard:
    """One file of one language, and its rejects."""

    folder: Path
    """Of the corpus."""
    language: str
    index: int
    count: int
    """Shards of the language."""

    @property
    def number(self) -> str:
        return f"{self.index:05d}-of-{self.count:05d}"

    @property
    def name(self) -> str:
        return f"data/{self.language}/train-{self.number}.parquet"

    @property
    def data(self) -> Path:
        return self.folder / self.name

    @property
    def rejects(self) -> Path:
        return self.folder / "rejects" / f"{self.language}-{self.number}.parquet"

    def metadata(self, build: str) -> dict[bytes, bytes]:
        """What the shard's files carry besides their rows.

        Args:
            build: the identity of the build, as canonical JSON.
        """
        return {_BUILD_KEY: build.encode(), _LANGUAGE_KEY: f"{self.language}-{self.number}".encode()}

    def is_whole(self, build: str) -> bool:
        """Whether both files are there, readable, and of this build."""
        return all(_carries(path, self.metadata(build)) for path in (self.rejects, self.data))

    @contextmanager
    def lock(self, folder: Path) -> Iterator[None]:
        """Holds the shard for this process alone; waits for whoever holds it. The kernel frees what the dead held."""
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / f"{self.language}-{self.index:05d}", "wb") as file:
            # POSIX record locks, unlike flock, are not inherited by a translator that is started meanwhile, and they
            # reach across the machines that share a network folder.
            fcntl.lockf(file, fcntl.LOCK_EX)
            yield

    def remove_unfinished(self) -> None:
        """Removes what killed writers of this shard left behind; for the holder of the lock."""
        for path in (self.rejects, self.data):
            for left in path.parent.glob(f".{path.name}.*.unfinished"):
                left.unlink(missing_ok=True)


def shards_of(config: BuildConfig, folder: Path) -> list[Shard]:
    """The shards of a build, by rank."""
    count = config.shards_per_language
    return [Shard(folder, language, index, count) for language in config.all_languages for index in range(count)]


def canonical(identity: dict[str, Any]) -> str:
    """An identity as the one text that stands for it."""
    return json.dumps(identity, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def builds_in(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Of each readable shard in a corpus folder the identity of its build; what no build wrote is passed over."""
    for path in sorted(folder.glob("data/*/*.parquet")):
        text = (_metadata(path) or {}).get(_BUILD_KEY)
        if text is not None:
            yield path, json.loads(text)


def open_writer(file: Any, schema: pa.Schema, shard: Shard, build: str) -> parquet.ParquetWriter:
    """A writer of one of the shard's files, whose schema carries the build beside what it carried before."""
    schema = schema.with_metadata({**(schema.metadata or {}), **shard.metadata(build)})
    # FLAC gains nothing from a dictionary, and a dictionary of it would only cost memory.
    dictionary = [name for name in schema.names if name not in ("id", "audio", "duration", "value")]
    return parquet.ParquetWriter(file, schema, compression="snappy", use_dictionary=dictionary)


def unneeded(folder: Path, shards: Sequence[Shard]) -> list[Path]:
    """Parquet files under the corpus's `data` and `rejects` that are none of the shards'."""
    ours = {path for shard in shards for path in (shard.data, shard.rejects)}
    found = [*folder.glob("data/*/*.parquet"), *folder.glob("rejects/*.parquet")]
    return sorted(path for path in found if path not in ours)


def _carries(path: Path, metadata: dict[bytes, bytes]) -> bool:
    found = _metadata(path)
    return found is not None and all(found.get(key) == value for key, value in metadata.items())


def _metadata(path: Path) -> dict[bytes, bytes] | None:
    """The metadata of a Parquet file; None where there is no such file or it is not whole."""
    try:
        size = os.path.getsize(path)
        return (parquet.read_schema(path).metadata or {}) if size else None
    except (OSError, pa.ArrowInvalid):
        return None
