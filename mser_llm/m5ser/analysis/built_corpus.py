# SPDX-License-Identifier: Apache-2.0
"""A built M5SER folder read in a stream: `data/LANGUAGE/*.parquet`, `rejects/*.parquet`, `manifest.json`."""

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mser_llm.m5ser.shards import builds_in


# Everything but the sound: a look at these columns does not read the audio.
_LABELS = ("id", "source_id", "source_corpus", "corpus", "emotion", "language", "speaker", "gender", "duration")
_REJECT_COLUMNS = ("id", "source_corpus", "language", "stage", "reason")
# Rows whose sound is in memory at once.
_BATCH_ROWS = 32

Row = dict[str, Any]


class BuiltCorpusError(ValueError):
    """A folder that is no built M5SER, or one that is damaged."""


class BuiltCorpus:
    """The shards of a built folder.

    Args:
        folder: written by `run-mser m5ser build`.

    Attributes:
        shards: the data shards by language, in the order of their names.

    Raises:
        BuiltCorpusError: the folder is missing, holds no shard, or lacks one that its manifest lists.
    """

    def __init__(self, folder: str | PathLike) -> None:
        self.folder = Path(folder).expanduser()
        if not self.folder.is_dir():
            raise BuiltCorpusError(f"{self.folder}: no such folder; give one that `run-mser m5ser build` wrote")
        self.shards: dict[str, list[Path]] = {}
        for path in sorted(self.folder.glob("data/*/*.parquet")):
            self.shards.setdefault(path.parent.name, []).append(path)
        if not self.shards:
            raise BuiltCorpusError(
                f"{self.folder}: holds no data/LANGUAGE/*.parquet; give a folder that `run-mser m5ser build` wrote"
            )

        for shard in self.manifest.get("shards", ()):
            path = self.folder / shard["path"]
            if not path.is_file() or path.stat().st_size != shard["bytes"]:
                raise BuiltCorpusError(
                    f"{path}: is not there, or not as long as manifest.json says ({shard['bytes']} bytes); run "
                    "`run-mser m5ser build` once more"
                )

    @cached_property
    def source_language(self) -> str:
        """What the sources speak, by the configuration that every shard carries; English if none does."""
        identity = next((identity for _, identity in builds_in(self.folder)), self.manifest.get("config", {}))
        return identity.get("source_language", "en")

    @cached_property
    def manifest(self) -> Mapping[str, Any]:
        """`manifest.json`; empty where the build has not come to its end."""
        path = self.folder / "manifest.json"
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError:
            raise BuiltCorpusError(f"{path}: is not JSON; run `run-mser m5ser build` once more") from None

    @property
    def num_rows(self) -> int:
        """Rows of all shards, from their footers."""
        return sum(_open(path).metadata.num_rows for paths in self.shards.values() for path in paths)

    def rows(self) -> Iterator[Row]:
        """Every row without its sound."""
        for paths in self.shards.values():
            for path in paths:
                for row in _rows(_open(path), path, _LABELS):
                    yield _with_source(row)

    def rows_with_audio(self, wanted: Callable[[Row], bool]) -> Iterator[list[Row]]:
        """The wanted rows with their `audio`, in batches; a row group without any is not read.

        Args:
            wanted: asked of each row without its sound.
        """
        for paths in self.shards.values():
            for path in paths:
                file = _open(path)
                for group in range(file.num_row_groups):
                    chosen = [wanted(_with_source(row)) for row in _rows(file, path, _LABELS, group)]
                    if not any(chosen):
                        continue
                    batch = []
                    for row, take in zip(_rows(file, path, (*_LABELS, "audio"), group), chosen, strict=True):
                        if take:
                            batch.append(_with_source(row))
                        if len(batch) == _BATCH_ROWS:
                            yield batch
                            batch = []
                    if batch:
                        yield batch

    def rejects(self) -> Iterator[Row]:
        """Every reject: `id`, `source_corpus`, `language`, `stage`, `reason`."""
        for path in sorted(self.folder.glob("rejects/*.parquet")):
            yield from _rows(_open(path), path, _REJECT_COLUMNS)


def source_key(row: Mapping[str, Any]) -> str:
    """`SOURCE_CORPUS/SOURCE_ID`, equal for a source row and its translations: their ids differ in the last part."""
    return str(row["id"]).removesuffix(f"/{row['language']}")


def _with_source(row: Row) -> Row:
    row["source"] = source_key(row)
    row["source_corpus"] = row["source_corpus"] or row["corpus"]
    return row


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        reason = " ".join(str(error).split())
        raise BuiltCorpusError(
            f"{path}: is not whole Parquet ({reason}); delete it and run `run-mser m5ser build` once more"
        ) from None


def _rows(file: pq.ParquetFile, path: Path, columns: tuple[str, ...], group: int | None = None) -> Iterator[Row]:
    missing = [name for name in columns if name not in file.schema_arrow.names]
    if missing:
        raise BuiltCorpusError(
            f"{path}: lacks the columns {', '.join(missing)}; give a folder that `run-mser m5ser build` wrote"
        )
    groups = None if group is None else [group]
    # Without threads nothing is read ahead, so that memory stays at one batch of sound.
    for batch in file.iter_batches(_BATCH_ROWS, row_groups=groups, columns=list(columns), use_threads=False):
        yield from batch.to_pylist()
