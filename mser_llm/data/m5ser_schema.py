# SPDX-License-Identifier: Apache-2.0
"""What M5SER's Parquet shards hold: rows, and beside them the table of what was dropped and why."""

import pyarrow as pa
from datasets import Audio, Features

from mser_llm.data.schema import ROW_SCHEMA
from processing_mser.audio_mser import SAMPLING_RATE


M5SER_CORPUS = "m5ser"
_COLUMNS = pa.schema(
    [
        *ROW_SCHEMA,
        pa.field("source_id", pa.string()),
        pa.field("source_corpus", pa.string()),
        pa.field("source_split", pa.string()),
        pa.field("translator", pa.string()),
    ]
)


def _features() -> Features:
    features = Features.from_arrow_schema(_COLUMNS)
    features["audio"] = Audio(sampling_rate=SAMPLING_RATE, decode=False)
    return features


M5SER_SCHEMA = _COLUMNS.with_metadata(_features().arrow_schema.metadata)
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
