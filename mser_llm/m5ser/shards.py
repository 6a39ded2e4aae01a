# SPDX-License-Identifier: Apache-2.0
"""Shards: their paths, whether one is complete, and the lock of its writer.

One rank of the pipeline builds one shard. A shard is written under a temporary name and renamed, after its rejects, so
a shard that exists is complete and has its rejects. Each file contains the identity of its build.
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
_SHARD_KEY = b"m5ser.shard"


@dataclass(frozen=True)
class Shard:
    """One file of one language, and its rejects."""

    folder: Path
    """Of the corpus."""
    language: str
    index: int
    count: int
    """Number of shards of the language."""

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
        """Return the Parquet metadata of both files; `build` is its identity as canonical JSON."""
        return {_BUILD_KEY: build.encode(), _SHARD_KEY: f"{self.language}-{self.number}".encode()}

    def is_complete(self, build: str) -> bool:
        """Whether both files exist, are readable and belong to this build."""
        expected = self.metadata(build).items()
        return all(expected <= _metadata(path).items() for path in (self.rejects, self.data))

    @contextmanager
    def lock(self, folder: Path) -> Iterator[None]:
        """Lock the shard for this process, and wait for any other. The kernel releases the locks of dead processes."""
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / f"{self.language}-{self.index:05d}", "wb") as file:
            # POSIX record locks, unlike flock, are not inherited by a translator that starts meanwhile, and they work
            # across machines that share a network folder.
            fcntl.lockf(file, fcntl.LOCK_EX)
            yield

    def remove_unfinished(self) -> None:
        """Remove the temporary files of killed writers. Requires the lock."""
        for path in (self.rejects, self.data):
            for unfinished in path.parent.glob(f".{path.name}.*.unfinished"):
                unfinished.unlink(missing_ok=True)


def shards_of(config: BuildConfig, folder: Path) -> list[Shard]:
    """Return the shards of a build, by rank."""
    count = config.shards_per_language
    return [Shard(folder, language, index, count) for language in config.all_languages for index in range(count)]


def canonical_json(identity: dict[str, Any]) -> str:
    """Return the one JSON text of an identity."""
    return json.dumps(identity, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def builds_in(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield each readable shard in a corpus folder with the identity of its build; skip other Parquet files."""
    for path in sorted(folder.glob("data/*/*.parquet")):
        text = _metadata(path).get(_BUILD_KEY)
        if text is not None:
            yield path, json.loads(text)


def open_writer(file: Any, schema: pa.Schema, shard: Shard, build: str) -> parquet.ParquetWriter:
    """Open a writer for one of the shard's files, with the build added to the metadata of the schema."""
    schema = schema.with_metadata({**(schema.metadata or {}), **shard.metadata(build)})
    # Dictionary encoding does not compress FLAC, and costs memory.
    dictionary = [name for name in schema.names if name not in ("id", "audio", "duration", "value")]
    return parquet.ParquetWriter(file, schema, compression="snappy", use_dictionary=dictionary)


def foreign_files(folder: Path, shards: Sequence[Shard]) -> list[Path]:
    """Return the Parquet files under `data` and `rejects` that belong to none of the shards."""
    ours = {path for shard in shards for path in (shard.data, shard.rejects)}
    found = [*folder.glob("data/*/*.parquet"), *folder.glob("rejects/*.parquet")]
    return sorted(path for path in found if path not in ours)


def _metadata(path: Path) -> dict[bytes, bytes]:
    """Return the metadata of a Parquet file; empty if the file is missing or incomplete."""
    try:
        return (parquet.read_schema(path).metadata or {}) if os.path.getsize(path) else {}
    except (OSError, pa.ArrowInvalid):
        return {}
