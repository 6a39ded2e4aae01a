# SPDX-License-Identifier: Apache-2.0
"""The row: one clip of any corpus, and the Arrow schema under which every writer of this project stores it."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import Audio, Dataset, Features

from processing_mser.audio_mser import SAMPLING_RATE


ROW_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("audio", pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])),
        pa.field("emotion", pa.string()),
        pa.field("language", pa.string()),
        pa.field("corpus", pa.string(), nullable=False),
        pa.field("speaker", pa.string()),
        pa.field("gender", pa.string()),
        pa.field("transcript", pa.string()),
        pa.field("duration", pa.float64()),
        pa.field("split", pa.string()),
    ]
)
"""Explicit, because a column that is null in one Parquet shard and text in another breaks streaming over both."""


M5SER_CORPUS = "m5ser"
_M5SER_COLUMNS = pa.schema(
    [
        *ROW_SCHEMA,
        pa.field("source_id", pa.string()),
        pa.field("source_corpus", pa.string()),
        pa.field("source_split", pa.string()),
        pa.field("translator", pa.string()),
    ]
)


def _m5ser_features() -> Features:
    features = Features.from_arrow_schema(_M5SER_COLUMNS)
    features["audio"] = Audio(sampling_rate=SAMPLING_RATE, decode=False)
    return features


M5SER_SCHEMA = _M5SER_COLUMNS.with_metadata(_m5ser_features().arrow_schema.metadata)
"""`ROW_SCHEMA` and four more columns: `source_id` (the row that was translated; null for a source row itself),
`source_corpus`, `source_split` (the part of that corpus's own division; null where it has none), `translator` (null
for a source row). `speaker` and `emotion` are the source's: what a label set merges is merged when rows are chosen.
Its metadata tell `load_dataset` that `audio` is `Audio(decode=False)`, so that reading needs neither torchcodec nor
ffmpeg."""

REJECTS_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("source_id", pa.string(), nullable=False),
        pa.field("source_corpus", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("value", pa.float64()),
    ]
)
"""One row for each clip that has none in the data shard. `stage` is `read`, `translate`, `filter` or `quality`;
`value` is what was measured, where something was."""


def new_row(
    *,
    id: str,
    path: str | Path,
    corpus: str,
    emotion: str | None = None,
    language: str | None = None,
    speaker: str | None = None,
    gender: str | None = None,
    transcript: str | None = None,
    duration: float | None = None,
    split: str | None = None,
) -> dict[str, Any]:
    """A row with every column of `ROW_SCHEMA`.

    Args:
        id: unique within the corpus, and equal wherever the corpus lies.
        path: of the audio file, which is not opened.
        corpus: the corpus's name.
        emotion: a canonical word, or None for unlabelled speech.
        language: ISO 639-1 (`zh` for Mandarin).
        speaker: unique across corpora.
        gender: `female` or `male`.
        transcript: what is said, as written in the language.
        duration: seconds; None until a header was read.
        split: the corpus's own, where it has one.
    """
    return {
        "id": id,
        "audio": {"bytes": None, "path": str(path)},
        "emotion": emotion,
        "language": language,
        "corpus": corpus,
        "speaker": speaker,
        "gender": gender,
        "transcript": transcript,
        "duration": duration,
        "split": split,
    }


def rows_to_dataset(rows: Iterable[Mapping[str, Any]]) -> Dataset:
    """Rows to a data set under `ROW_SCHEMA`; its audio column is `Audio(decode=False)`, that is `{"bytes", "path"}`.

    Raises:
        ValueError: a row has a column that the schema lacks, or no id or corpus.
    """
    rows = list(rows)
    for row in rows:
        unknown = sorted(set(row) - set(ROW_SCHEMA.names))
        if unknown:
            raise ValueError(
                f"row {row.get('id')!r} has the unknown columns {', '.join(unknown)}; "
                f"the columns are {', '.join(ROW_SCHEMA.names)}"
            )
        if not row.get("id") or not row.get("corpus"):
            raise ValueError(f"row {dict(row)} has no id or no corpus; give it both")
    table = pa.Table.from_pylist(rows, schema=ROW_SCHEMA)
    # Cast afterwards: declaring the feature at once would ask for torchcodec even with decode=False.
    return Dataset(table).cast_column("audio", Audio(decode=False))
