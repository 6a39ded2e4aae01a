# SPDX-License-Identifier: Apache-2.0
"""M5SER as rows to train and evaluate on, and its split by the speakers of its sources."""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict
from pyarrow import parquet

from mser_llm.data.loaded_corpus import UNLABELLED, CorpusError, LoadedCorpus
from mser_llm.data.schema import M5SER_CORPUS
from mser_llm.data.splits import speaker_split


MANIFEST = "manifest.json"
_HOW_TO = "give the folder that run-mser m5ser build wrote, or one language of it as FOLDER/data/fr"
# Few different values among a million rows: one object each, not one a row.
_SHARED = (
    "emotion",
    "language",
    "corpus",
    "source_corpus",
    "source_split",
    "translator",
    "speaker",
    "gender",
    "split",
)


class ShardAudio(Mapping[str, Any]):
    """The audio of one row, `{"bytes", "path"}`, whose bytes are read from the memory-mapped data set when asked for.

    Args:
        dataset: with the column `audio`, decoding nothing.
        index: of the row.
        path: the clip's file name inside the data set; there is no such file on disk.
    """

    __slots__ = ("_dataset", "_index", "_path")

    def __init__(self, dataset: Dataset, index: int, path: str):
        self._dataset, self._index, self._path = dataset, index, path

    def __getitem__(self, key: str) -> Any:
        if key == "path":
            return self._path
        if key == "bytes":
            return self._dataset[self._index]["audio"]["bytes"]
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(("bytes", "path"))

    def __len__(self) -> int:
        return 2

    def __repr__(self) -> str:
        return f"ShardAudio({self._path!r})"


def read_m5ser(path: str | Path, cache_dir: str | Path | None = None) -> LoadedCorpus:
    """Read a built folder, or a download of one.

    The first reading of a language unpacks its shards once into the cache of `datasets`, from where they are mapped
    into memory, so that a corpus of any length is read at random and never sits in memory.

    Args:
        path: the folder of a build, or one language of it, such as `m5ser/data/fr`.
        cache_dir: of `datasets`; by default its own.

    Returns:
        rows with the columns of `M5SER_SCHEMA`, language by language in the order of the shards; `audio` is a
        `ShardAudio`. `speaker` is that of the row's source.

    Raises:
        CorpusError: no M5SER, one that was not built or downloaded to its end, or one without rows.
    """
    path = Path(path).expanduser()
    whole = path.parent.parent
    one_language = path.parent.name == "data" and (whole / MANIFEST).is_file() and not (path / MANIFEST).is_file()
    root = whole if one_language else path
    manifest = read_manifest(root)
    shards: dict[str, list[Path]] = {}
    for shard in manifest["shards"]:
        file = root / shard["path"]
        if path in (root, file.parent):
            if not file.is_file() or file.stat().st_size != shard["bytes"]:
                raise CorpusError(
                    f"{file}: is not there, or not as long as manifest.json says ({shard['bytes']} bytes); run the "
                    "build or the download again"
                )
            if shard["rows"]:
                shards.setdefault(shard["language"], []).append(file)
    rows: list[dict[str, Any]] = []
    for files in shards.values():
        rows += _rows(files, cache_dir)
    if not rows:
        raise CorpusError(f"{path}: holds no clip; {_HOW_TO}")
    unknown = sum(row["speaker"] is None for row in rows)
    return LoadedCorpus(
        name=M5SER_CORPUS,
        path=path,
        rows=rows,
        expected={},
        found=dict(Counter(row["emotion"] or UNLABELLED for row in rows).most_common()),
        unmatched=[],
        warnings=[f"{unknown} of {len(rows)} clips have a source without a speaker"] if unknown else [],
    )


def read_manifest(root: Path) -> dict[str, Any]:
    """The manifest of a built folder.

    Raises:
        CorpusError: there is none, or it is damaged.
    """
    file = root / MANIFEST
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        if not {"format", "config", "shards", "rows", "hours", "manifest_hash"} <= set(manifest):
            raise ValueError("not all of its keys are there")
    except FileNotFoundError:
        raise CorpusError(f"{root}: holds no manifest.json, so it is no M5SER, or one half built; {_HOW_TO}") from None
    except (ValueError, TypeError) as error:
        raise CorpusError(f"{file}: is damaged ({error}); run the build again, which rewrites it") from error
    return manifest


def train_test_split(dataset: Dataset, test_size: float, seed: int) -> DatasetDict:
    """Divide M5SER by the speakers of its sources, so that no speaker, in no language, is on both sides.

    Split all languages together (the configuration `default`) and choose languages afterwards: splits of two
    languages, each made for itself, need not agree. Clips whose source has no speaker stay with the other
    translations of that source, and a warning says that one person may be on both sides.

    Args:
        dataset: one split of M5SER, such as `load_dataset(DIR, "default", split="train")`.
        test_size: share of the clips wanted in the test, between 0 and 1; met as nearly as whole speakers allow, in
            every source corpus, language and emotion.
        seed: equal seeds and data give equal splits.

    Returns:
        `train` and `test`, each in the given order.

    Raises:
        ValueError: a size outside (0, 1), fewer than two speakers, or data that are not one split of M5SER.
    """
    needed = ["id", "speaker", "source_corpus", "language", "emotion"]
    if not isinstance(dataset, Dataset) or not set(needed) <= set(dataset.column_names or ()):
        raise ValueError(
            "train_test_split takes one split of M5SER, and not in a stream; give load_dataset(DIR, CONFIG, "
            "split='train'), with all of its columns"
        )
    columns = dataset.select_columns(needed).with_format(None)[:]
    rows = [
        {**dict(zip(needed, values)), "corpus": values[needed.index("source_corpus")], "index": index}
        for index, values in enumerate(zip(*(columns[name] for name in needed)))
    ]
    train, test = speaker_split(rows, test_size, seed)
    return DatasetDict(
        {name: dataset.select([row["index"] for row in side]) for name, side in (("train", train), ("test", test))}
    )


def _rows(files: list[Path], cache_dir: str | Path | None) -> list[dict[str, Any]]:
    cache = None if cache_dir is None else str(cache_dir)
    audio = Dataset.from_parquet([str(file) for file in files], cache_dir=cache).select_columns(["audio"])
    rows: list[dict[str, Any]] = []
    for file in files:
        shard = parquet.ParquetFile(file)
        columns = [name if name != "audio" else "audio.path" for name in shard.schema_arrow.names]
        for values in shard.read(columns=columns).to_pylist():
            path = values["audio"]["path"]
            row = {**values, "audio": ShardAudio(audio, len(rows), path)}
            rows.append(row | {name: sys.intern(row[name]) for name in _SHARED if row[name] is not None})
    assert len(rows) == len(audio), "the cached copy has as many rows as the shards that it was made from"
    return rows
