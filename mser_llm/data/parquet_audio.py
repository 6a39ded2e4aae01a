# SPDX-License-Identifier: Apache-2.0
"""Recordings that lie inside Parquet files: listed by name at once, read one by one when they are asked for."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from datasets import Audio, Dataset
from pyarrow import ArrowInvalid, parquet

from mser_llm.data.corpora import ParquetClips
from mser_llm.data.listing import extension_of
from mser_llm.data.loaded_corpus import CorpusError


class ParquetAudio(Mapping[str, Any]):
    """The audio of one row of a data set, `{"bytes", "path"}`, whose bytes are fetched when asked for.

    The first such request unpacks the files into the cache of `datasets`, from where they are mapped into memory.

    Args:
        files: the Parquet files of the data set, in order.
        column: that holds the recordings.
        index: of the row over all files.
        path: stands for the recording; there is no such file.
    """

    __slots__ = ("_column", "_files", "_index", "_path")

    def __init__(self, files: tuple[str, ...], column: str, index: int, path: str):
        self._files, self._column, self._index, self._path = files, column, index, path

    def __getitem__(self, key: str) -> Any:
        if key == "path":
            return self._path
        if key == "bytes":
            return _unpacked(self._files, self._column)[self._index][self._column]["bytes"]
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(("bytes", "path"))

    def __len__(self) -> int:
        return 2

    def __repr__(self) -> str:
        return f"ParquetAudio({self._path!r})"


def parquet_clips(columns: ParquetClips, root: Path, others: Sequence[str]) -> list[tuple[str, ParquetAudio]]:
    """The clips in all Parquet files under a folder: (folder and name without extension, audio).

    Raises:
        CorpusError: a file is damaged, or lacks a column.
    """
    files = tuple(str(root / file) for file in others if extension_of(file) == ".parquet")
    clips: list[tuple[str, ParquetAudio]] = []
    for file in files:
        try:
            names = parquet.read_table(file, columns=[columns.name])[columns.name].to_pylist()
            if columns.audio not in parquet.read_schema(file).names:
                raise KeyError(columns.audio)
        except (ArrowInvalid, OSError) as error:
            raise CorpusError(f"{file}: is not Parquet, or damaged ({error}); download it again") from error
        except KeyError as error:
            raise CorpusError(f"{file}: has no column {error}; download the data set as published") from error
        folder = Path(file).name.split("-")[0]
        for name in names:
            clips.append((f"{folder}/{name}", ParquetAudio(files, columns.audio, len(clips), f"{file}/{name}")))
    return clips


@lru_cache(maxsize=4)
def _unpacked(files: tuple[str, ...], column: str) -> Dataset:
    dataset = Dataset.from_parquet(list(files)).select_columns([column])
    return dataset.cast_column(column, Audio(decode=False))
