# SPDX-License-Identifier: Apache-2.0
"""The row, one clip of any corpus, and the Arrow schemas of rows and of M5SER."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

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
"""Explicit, because streaming fails over shards of which one has a null column where another has text."""


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


# Written out, because importing datasets takes each process of a build several seconds.
_FEATURES = {
    **{field.name: {"dtype": "string", "_type": "Value"} for field in _M5SER_COLUMNS},
    "audio": {"sampling_rate": SAMPLING_RATE, "decode": False, "_type": "Audio"},
    "duration": {"dtype": "float64", "_type": "Value"},
}
M5SER_SCHEMA = _M5SER_COLUMNS.with_metadata({"huggingface": json.dumps({"info": {"features": _FEATURES}})})
"""`ROW_SCHEMA` and four more columns. For a source row `source_id` and `translator` are null.

- `source_id`: the row that was translated.
- `source_corpus`: its corpus.
- `source_split`: its split in that corpus; null if the corpus has none.
- `translator`: its translator.

`speaker` and `emotion` are those of the source; label sets are applied later. The metadata make `load_dataset` read
`audio` as `Audio(decode=False)`, which needs neither torchcodec nor ffmpeg."""

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
"""One row for each clip that was dropped. `stage` is `read`, `translate`, `filter` or `quality`; `value` is the
measurement that caused it, if any."""


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
    """
    Create a row with every column of `ROW_SCHEMA`.

    Args:
        id: unique within the corpus, and independent of where the corpus is stored.
        path: of the audio file, which is not opened.
        corpus: name of the corpus.
        emotion: a canonical word; None for unlabeled speech.
        language: ISO 639-1 (`zh` for Mandarin).
        speaker: unique across corpora.
        gender: `female` or `male`.
        transcript: in the language of the clip.
        duration: in seconds; None until the header is read.
        split: the published split, if the corpus has one.
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
