# SPDX-License-Identifier: Apache-2.0
"""Write clips to a shard and its rejects."""

import io
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import soundfile
from datatrove.data import DocumentsPipeline
from datatrove.pipeline.base import PipelineStep

from mser_llm.data.schema import M5SER_CORPUS, M5SER_SCHEMA, REJECTS_SCHEMA
from mser_llm.io.atomic_files import atomic_open
from mser_llm.io.disk_errors import explain_disk_full
from mser_llm.m5ser.clip import Clip, clip_of
from mser_llm.m5ser.errors import RUN_AGAIN
from mser_llm.m5ser.shards import Shard, open_writer
from processing_mser.audio_mser import SAMPLING_RATE


ROWS_PER_GROUP = 100
"""Rows per Parquet row group: as many are in a worker's memory, and as many a streaming reader fetches at once."""


class WriteShard(PipelineStep):
    """Write the shard of a rank, unless it is complete.

    `build` is the identity of the build, as canonical JSON. In the folder `progress`, a file per rank contains the
    number of clips done.
    """

    name = "Write shard"
    type = "M5SER"

    def __init__(self, shards: Sequence[Shard], build: str, locks: Path, progress: Path):
        super().__init__()
        self.shards, self.build, self.locks, self.progress = shards, build, locks, progress

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Write and yield nothing.

        Raises:
            OSError: the disk is full; finished shards stay as they are.
        """
        shard = self.shards[rank]
        with explain_disk_full(shard.data, f"make room there and {RUN_AGAIN}"), shard.lock(self.locks):
            # Check again with the lock: another process may have written the shard.
            if not shard.is_complete(self.build):
                shard.remove_unfinished()
                self.write(data, shard, self.progress / f"{rank:05d}")
        yield from ()

    def write(self, data: DocumentsPipeline, shard: Shard, progress: Path) -> None:
        """Write the rejects, then the shard."""
        assert data is not None
        rejects: list[dict[str, Any]] = []
        for path in (shard.data, shard.rejects, progress):
            path.parent.mkdir(parents=True, exist_ok=True)
        with (
            open(progress, "wb", buffering=0) as counter,
            atomic_open(shard.data, "wb") as file,
            open_writer(file, M5SER_SCHEMA, shard, self.build) as writer,
        ):
            rows: list[dict[str, Any]] = []
            for done, document in enumerate(data, start=1):
                clip = clip_of(document)
                if clip.rejection is None:
                    rows.append(row_of(clip))
                    self.stat_update("rows")
                else:
                    rejects.append(reject_of(clip))
                    self.stat_update(f"rejected: {clip.rejection.stage}")
                if len(rows) == ROWS_PER_GROUP:
                    writer.write_table(pa.Table.from_pylist(rows, schema=M5SER_SCHEMA))
                    rows.clear()
                os.pwrite(counter.fileno(), b"%d\n" % done, 0)
            if rows:
                writer.write_table(pa.Table.from_pylist(rows, schema=M5SER_SCHEMA))
            with (
                atomic_open(shard.rejects, "wb") as rejects_file,
                open_writer(rejects_file, REJECTS_SCHEMA, shard, self.build) as rejects_writer,
            ):
                rejects_writer.write_table(pa.Table.from_pylist(rejects, schema=REJECTS_SCHEMA))


def row_of(clip: Clip) -> dict[str, Any]:
    """Return a row of `M5SER_SCHEMA`."""
    assert clip.speech is not None
    source = clip.row
    return {
        "id": clip.id,
        "audio": {"bytes": encode(clip.speech), "path": re.sub(r"[^A-Za-z0-9._-]", "_", clip.id) + ".flac"},
        "emotion": source["emotion"],
        "language": clip.language,
        "corpus": M5SER_CORPUS,
        "speaker": source["speaker"],
        "gender": source["gender"],
        "transcript": clip.transcript,
        "duration": clip.seconds,
        "split": "train",
        "source_id": source["id"] if clip.translator is not None else None,
        "source_corpus": source["corpus"],
        "source_split": source["split"],
        "translator": clip.translator,
    }


def reject_of(clip: Clip) -> dict[str, Any]:
    """Return a row of `REJECTS_SCHEMA`."""
    assert clip.rejection is not None
    return {
        "id": clip.id,
        "source_id": clip.row["id"],
        "source_corpus": clip.row["corpus"],
        "language": clip.language,
        "stage": clip.rejection.stage,
        "reason": clip.rejection.reason,
        "value": clip.rejection.value,
    }


def encode(clip: np.ndarray) -> bytes:
    """Encode samples (samples,) at 16 kHz as a 16-bit FLAC file; equal samples give equal bytes.

    A clip beyond full scale is scaled down, because clipping would distort it.
    """
    clip = clip / max(1.0, np.abs(clip).max())
    # Rounded here, because libsndfile scales floats by 32767 or 32768, depending on its version.
    integers = np.clip(np.rint(clip.astype(np.float64) * 32768), -32768, 32767).astype(np.int16)
    file = io.BytesIO()
    soundfile.write(file, integers, SAMPLING_RATE, format="FLAC", subtype="PCM_16")
    return file.getvalue()
