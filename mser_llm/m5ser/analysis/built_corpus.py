# SPDX-License-Identifier: Apache-2.0
"""Stream a built M5SER folder: `data/LANGUAGE/*.parquet`, `rejects/*.parquet`, `manifest.json`."""

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from itertools import chain, compress, islice
from os import PathLike
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mser_llm.io.errors import InputError
from mser_llm.m5ser.shards import builds_in


# All columns needed but the audio, which is not read with them.
_LABELS = ("id", "source_id", "source_corpus", "corpus", "emotion", "language", "speaker", "gender", "duration")
_REJECT_COLUMNS = ("id", "source_corpus", "language", "stage", "reason")
# Rows with audio in memory at a time.
_BATCH_ROWS = 32
_BUILT = "pass a folder from `run-mser m5ser build`"
_REBUILD = "run `run-mser m5ser build` again"

Row = dict[str, Any]


class BuiltCorpusError(InputError):
    """A folder is not a built M5SER, or is damaged."""


class BuiltCorpus:
    """The shards of a built folder, by language.

    Raises:
        BuiltCorpusError: the folder is missing, contains no shard, or lacks one of its manifest.
    """

    def __init__(self, folder: str | PathLike) -> None:
        self.folder = Path(folder).expanduser()
        if not self.folder.is_dir():
            raise BuiltCorpusError(self.folder, "no such folder", _BUILT)
        self.shards: dict[str, list[Path]] = {}
        for path in sorted(self.folder.glob("data/*/*.parquet")):
            self.shards.setdefault(path.parent.name, []).append(path)
        if not self.shards:
            raise BuiltCorpusError(self.folder, "contains no data/LANGUAGE/*.parquet", _BUILT)
        for shard in self.manifest.get("shards", ()):
            path = self.folder / shard["path"]
            if not path.is_file() or path.stat().st_size != shard["bytes"]:
                raise BuiltCorpusError(
                    path, f"missing, or not of the size in manifest.json ({shard['bytes']} bytes)", _REBUILD
                )

    @cached_property
    def source_language(self) -> str:
        """Language of the sources, from the configuration in the shards; English by default."""
        identity = next((identity for _, identity in builds_in(self.folder)), self.manifest.get("config", {}))
        return identity.get("source_language", "en")

    @cached_property
    def manifest(self) -> Mapping[str, Any]:
        """Content of `manifest.json`; empty if the build is unfinished."""
        path = self.folder / "manifest.json"
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError:
            raise BuiltCorpusError(path, "not valid JSON", _REBUILD) from None

    @property
    def num_rows(self) -> int:
        """Number of rows, from the footers of the shards."""
        return sum(file.metadata.num_rows for _, file in self._files())

    def _files(self) -> Iterator[tuple[Path, pq.ParquetFile]]:
        return ((path, _open(path)) for path in chain.from_iterable(self.shards.values()))

    def rows(self) -> Iterator[Row]:
        """Yield every row without its audio."""
        for path, file in self._files():
            yield from map(_with_source, _rows(file, path, _LABELS))

    def rows_with_audio(self, wanted: Callable[[Row], bool]) -> Iterator[list[Row]]:
        """Yield the rows that `wanted` selects by their other columns with their `audio`, in batches.

        Row groups without any are not read.
        """
        for path, file in self._files():
            for group in range(file.num_row_groups):
                chosen = [wanted(_with_source(row)) for row in _rows(file, path, _LABELS, group)]
                if any(chosen):
                    rows = map(_with_source, _rows(file, path, (*_LABELS, "audio"), group))
                    selected = compress(rows, chosen)
                    while batch := list(islice(selected, _BATCH_ROWS)):
                        yield batch

    def rejects(self) -> Iterator[Row]:
        """Yield every reject: `id`, `source_corpus`, `language`, `stage`, `reason`."""
        for path in sorted(self.folder.glob("rejects/*.parquet")):
            yield from _rows(_open(path), path, _REJECT_COLUMNS)


def source_key(row: Mapping[str, Any]) -> str:
    """Return `SOURCE_CORPUS/SOURCE_ID`, which a source row and its translations share."""
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
        raise BuiltCorpusError(path, f"not a complete Parquet file ({reason})", f"delete it and {_REBUILD}") from None


def _rows(file: pq.ParquetFile, path: Path, columns: tuple[str, ...], group: int | None = None) -> Iterator[Row]:
    missing = [name for name in columns if name not in file.schema_arrow.names]
    if missing:
        raise BuiltCorpusError(path, f"lacks the columns {', '.join(missing)}", _BUILT)
    groups = None if group is None else [group]
    # Threads would read ahead, and keep more than one batch of audio in memory.
    for batch in file.iter_batches(_BATCH_ROWS, row_groups=groups, columns=list(columns), use_threads=False):
        yield from batch.to_pylist()
