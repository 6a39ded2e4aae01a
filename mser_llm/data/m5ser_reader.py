# SPDX-License-Identifier: Apache-2.0
"""Read M5SER as rows to train and evaluate on, and split it by the speakers of its sources."""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyarrow import parquet

from mser_llm.data.loaded_corpus import UNLABELED, CorpusError, LoadedCorpus
from mser_llm.data.parquet_audio import ParquetAudio, unpacked
from mser_llm.data.schema import M5SER_CORPUS
from mser_llm.data.splits import speaker_split
from mser_llm.io.errors import InputError


if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict


MANIFEST = "manifest.json"
_FIX = "pass the output folder of run-mser m5ser build, or one language of it as FOLDER/data/fr"
# A million rows have few different values of the other texts: one string object is kept for each.
_UNIQUE = ("id", "source_id", "transcript")


def read_m5ser(path: str | Path, cache_dir: str | Path | None = None) -> LoadedCorpus:
    """
    Read a built folder, or a download of one.

    Args:
        path: the folder of a build, or one language of it, such as `m5ser/data/fr`.
        cache_dir: of `datasets`; its default if None.

    Returns:
        rows with the columns of `M5SER_SCHEMA`, by language, in the order of the shards. `audio` is a
        [`ParquetAudio`], `speaker` the speaker of the row's source.

    Raises:
        CorpusError: no M5SER, an incomplete build or download, or one without rows.
    """
    path = Path(path).expanduser()
    corpus = path.parent.parent
    one_language = path.parent.name == "data" and (corpus / MANIFEST).is_file() and not (path / MANIFEST).is_file()
    root = corpus if one_language else path
    manifest = read_manifest(root)
    shards: dict[str, list[Path]] = {}
    for shard in manifest["shards"]:
        file = root / shard["path"]
        if path in (root, file.parent):
            if not file.is_file() or file.stat().st_size != shard["bytes"]:
                problem = f"does not exist, or does not have the {shard['bytes']} bytes that manifest.json lists"
                raise CorpusError(file, problem, "run the build or the download again")
            if shard["rows"]:
                shards.setdefault(shard["language"], []).append(file)
    unpacked.cache_clear()  # the same folder may have been built again since
    rows: list[dict[str, Any]] = []
    for files in shards.values():
        rows += _rows(files, cache_dir)
    if not rows:
        raise CorpusError(path, "contains no clip", _FIX)
    unknown = sum(row["speaker"] is None for row in rows)
    return LoadedCorpus(
        name=M5SER_CORPUS,
        path=path,
        rows=rows,
        expected={},
        found=dict(Counter(row["emotion"] or UNLABELED for row in rows).most_common()),
        unmatched=[],
        warnings=[f"{unknown} of {len(rows)} clips have a source whose speaker is unknown"] if unknown else [],
    )


def read_manifest(root: Path) -> dict[str, Any]:
    """
    Read the manifest of a built folder.

    Raises:
        CorpusError: it is missing or damaged.
    """
    file = root / MANIFEST
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        if not {"format", "config", "shards", "rows", "hours", "manifest_hash"} <= set(manifest):
            raise ValueError("keys are missing")
    except FileNotFoundError:
        raise CorpusError(root, "has no manifest.json, so it is not M5SER, or its build is incomplete", _FIX) from None
    except (ValueError, TypeError) as error:
        raise CorpusError(file, f"is damaged ({error})", "run the build again, which rewrites it") from error
    return manifest


def train_test_split(dataset: "Dataset", test_size: float, seed: int) -> "DatasetDict":
    """
    Split M5SER by the speakers of its sources, so that no speaker is in both parts in any language.

    Split all languages together (the configuration `default`) and select languages afterwards: separate splits of two
    languages may disagree. Clips whose source has no speaker stay with the other translations of that source, and a
    warning says that one person may be in both parts.

    Args:
        dataset: one split of M5SER, such as `load_dataset(DIR, "default", split="train")`.
        test_size: share of the clips in the test part, between 0 and 1; approximated with complete speakers in every
            source corpus, language and emotion.
        seed: equal seeds and data give equal splits.

    Returns:
        `train` and `test`, each in the given order.

    Raises:
        InputError: a size outside (0, 1), fewer than two speakers, or data that are not one split of M5SER.
    """
    from datasets import Dataset, DatasetDict

    needed = ["id", "speaker", "source_corpus", "language", "emotion"]
    if not isinstance(dataset, Dataset) or not set(needed) <= set(dataset.column_names or ()):
        fix = "pass load_dataset(DIR, CONFIG, split='train') with all of its columns"
        raise InputError("train_test_split", "takes one split of M5SER, not streamed", fix)
    columns = dataset.select_columns(needed).with_format(None)[:]
    rows = [
        {**dict(zip(needed, values)), "corpus": values[needed.index("source_corpus")], "index": index}
        for index, values in enumerate(zip(*(columns[name] for name in needed)))
    ]
    train, test = speaker_split(rows, test_size, seed)
    return DatasetDict(
        {name: dataset.select([row["index"] for row in side]) for name, side in (("train", train), ("test", test))}
    )


def _rows(files: Sequence[Path], cache_dir: str | Path | None) -> list[dict[str, Any]]:
    cache, names = None if cache_dir is None else str(cache_dir), tuple(map(str, files))
    rows: list[dict[str, Any]] = []
    for file in files:
        shard = parquet.ParquetFile(file)
        columns = [name if name != "audio" else "audio.path" for name in shard.schema_arrow.names]
        for values in shard.read(columns=columns).to_pylist():
            audio = ParquetAudio(names, "audio", len(rows), values["audio"]["path"], cache)
            texts = {name: value for name, value in values.items() if isinstance(value, str) and name not in _UNIQUE}
            rows.append({**values, "audio": audio} | {name: sys.intern(text) for name, text in texts.items()})
    return rows
