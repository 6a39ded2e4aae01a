# SPDX-License-Identifier: Apache-2.0
"""Recordings inside Parquet files: listed by name at once, read one by one on access."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyarrow import ArrowInvalid, parquet

from mser_llm.data.corpora.spec import ParquetClips
from mser_llm.data.listing import extension_of
from mser_llm.data.loaded_corpus import CorpusError


if TYPE_CHECKING:
    from datasets import Dataset


class ParquetAudio(Mapping[str, Any]):
    """
    The audio of one row of a data set, `{"bytes", "path"}`. The bytes are read on access.

    The first access unpacks the files into the cache of `datasets`, which memory-maps them: the recordings of a corpus
    are read at random and never fill the memory.

    Args:
        files: the Parquet files of the data set, in order.
        column: the column with the recordings.
        index: of the row over all files.
        path: the name of the recording; no such file exists.
        cache_dir: of `datasets`; its default if None.
    """

    __slots__ = ("_cache_dir", "_column", "_files", "_index", "_path")

    def __init__(self, files: tuple[str, ...], column: str, index: int, path: str, cache_dir: str | None = None):
        self._files, self._column, self._index, self._path, self._cache_dir = files, column, index, path, cache_dir

    def __getitem__(self, key: str) -> Any:
        if key == "path":
            return self._path
        if key == "bytes":
            return unpacked(self._files, self._column, self._cache_dir)[self._index][self._column]["bytes"]
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(("bytes", "path"))

    def __len__(self) -> int:
        return 2

    def __repr__(self) -> str:
        return f"ParquetAudio({self._path!r})"


@cache
def unpacked(files: tuple[str, ...], column: str, cache_dir: str | None) -> "Dataset":
    """Load one column of audio from Parquet files, memory-mapped and not decoded."""
    # Takes several seconds, which most commands do not need.
    from datasets import Audio, Dataset

    dataset = Dataset.from_parquet(list(files), cache_dir=cache_dir).select_columns([column])
    return dataset.cast_column(column, Audio(decode=False))


def parquet_clips(columns: ParquetClips, root: Path, others: Sequence[str]) -> list[tuple[str, ParquetAudio]]:
    """
    List the clips in all Parquet files of the folder `root` as (folder and name without extension, audio).

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
            raise CorpusError(file, f"is not a Parquet file, or is damaged ({error})", "download it again") from error
        except KeyError as error:
            raise CorpusError(file, f"has no column {error}", "download the data set as published") from error
        folder = Path(file).name.split("-")[0]
        for name in names:
            clips.append((f"{folder}/{name}", ParquetAudio(files, columns.audio, len(clips), f"{file}/{name}")))
    return clips
