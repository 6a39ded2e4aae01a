# SPDX-License-Identifier: Apache-2.0
"""The row, one clip of any corpus, and the Arrow schemas of rows and of M5SER."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from processing_mser.audio_mser import SAMPLING_RATE


def _texts(*names: str, nullable: bool = True) -> list[pa.Field]:
    return [pa.field(name, pa.string(), nullable=nullable) for name in names]


ROW_SCHEMA = pa.schema(
    [
        *_texts("id", nullable=False),
        pa.field("audio", pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])),
        *_texts("emotion", "language"),
        *_texts("corpus", nullable=False),
        *_texts("speaker", "gender", "transcript"),
        pa.field("duration", pa.float64()),
        *_texts("split"),
    ]
)
"""Explicit, because streaming fails over shards of which one has a null column where another has text."""


M5SER_CORPUS = "m5ser"
_M5SER_COLUMNS = pa.schema([*ROW_SCHEMA, *_texts("source_id", "source_corpus", "source_split", "translator")])

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
        *_texts("id", "source_id", "source_corpus", "language", "stage", "reason", nullable=False),
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
