# SPDX-License-Identifier: Apache-2.0
"""List the rows to translate, order them, and divide them into one fixed slice per shard.

Each rank reads its own slice only, so that its memory does not grow with the corpus. Listing opens no recording.
"""

import hashlib
import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datatrove.data import Document, DocumentsPipeline
from datatrove.pipeline.base import PipelineStep
from pyarrow import parquet
from tqdm.auto import tqdm

from mser_llm.data.read_corpus import parse_corpora, read_corpus
from mser_llm.data.schema import ROW_SCHEMA
from mser_llm.io.atomic_files import atomic_open
from mser_llm.io.errors import InputError
from mser_llm.m5ser.build_config import BuildConfig
from mser_llm.m5ser.clip import CLIP, Clip, audible
from mser_llm.m5ser.errors import RUN_AGAIN, SourceGoneError
from mser_llm.m5ser.shards import Shard
from processing_mser.audio_mser import AudioError, load_audio


Row = Mapping[str, Any]


def read_sources(corpora: Sequence[str]) -> list[dict[str, Any]]:
    """Read the rows of corpora given as NAME=PATH, and print the warnings of their readers."""
    rows: list[dict[str, Any]] = []
    for name, path in tqdm(parse_corpora(corpora).values(), desc="Listing corpora", unit="corpus"):
        reading = read_corpus(name, path)
        for warning in reading.warnings:
            tqdm.write(f"Warning: {name}: {warning}")
        rows += reading.rows
    return rows


def order_sources(rows: Iterable[Row], seed: int) -> list[Row]:
    """Sort rows pseudo-randomly, by a hash of the seed and their ids, independent of how they were listed.

    This mixes corpora, emotions and durations, so that shards take about the same time and each is a random sample.
    """
    rows = sorted(rows, key=lambda row: _order(row, seed))
    counts = Counter((row["corpus"], row["id"]) for row in rows)
    for (corpus, id_), count in counts.items():
        if count > 1:
            raise InputError(corpus, f"{count} rows have the id {id_!r}", "pass each corpus once")
    return rows


def draw_sources(rows: Sequence[Row], config: BuildConfig, language: str) -> list[Row]:
    """Draw `config.sample` of the ordered rows for a language, balanced over emotions and speakers.

    Each language has its own draw. A merged emotion counts as the label it is merged into. Rows outside the label sets
    or in another language than the source language are not drawn.
    """
    if config.sample is None:
        return list(rows)
    counted = config.counted_emotions()
    by_emotion: dict[str, dict[str | None, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in sorted(rows, key=lambda row: _order(row, config.seed, language)):
        emotion = counted.get(row["emotion"])
        if emotion is not None and row["language"] in (None, config.source_language):
            by_emotion[emotion][row["speaker"]].append(row)
    words = dict.fromkeys(counted.values())
    queues = [_round_robin(list(by_emotion[emotion].values())) for emotion in words if emotion in by_emotion]
    chosen = {id(row) for row in islice(_round_robin([list(queue) for queue in queues]), config.sample)}
    return [row for row in rows if id(row) in chosen]


def describe_sources(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Return the number of rows of each corpus and the SHA-256 of their columns, file paths excluded."""
    columns = [name for name in ROW_SCHEMA.names if name not in ("audio", "duration")]
    digests: dict[str, Any] = defaultdict(hashlib.sha256)
    counts: Counter[str] = Counter()
    for row in sorted(rows, key=lambda row: (row["corpus"], row["id"])):
        line = json.dumps([row[name] for name in columns], ensure_ascii=False)
        digests[row["corpus"]].update(f"{line}\n".encode())
        counts[row["corpus"]] += 1
    return {corpus: {"rows": counts[corpus], "sha256": digests[corpus].hexdigest()} for corpus in sorted(counts)}


def write_slices(rows: Sequence[Row], path: Path, slices: int) -> None:
    """Write one Parquet row group per slice."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_open(path, "wb") as file, parquet.ParquetWriter(file, ROW_SCHEMA) as writer:
        for index in range(slices):
            part = rows[len(rows) * index // slices : len(rows) * (index + 1) // slices]
            table = pa.Table.from_pylist([_with_absolute_path(row) for row in part], schema=ROW_SCHEMA)
            writer.write_table(table, row_group_size=max(1, len(part)))


def _with_absolute_path(row: Row) -> dict[str, Any]:
    content, path = row["audio"]["bytes"], row["audio"]["path"]
    return {**row, "audio": {"bytes": content, "path": os.path.abspath(path) if content is None else path}}


def slice_sizes(path: Path) -> list[int]:
    """Return the number of rows of each slice."""
    metadata = parquet.read_metadata(path)
    return [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]


class ReadSources(PipelineStep):
    """Read the rows of a rank's slice with their recordings; a row that cannot be used becomes a rejection.

    `slices` are the files from `write_slices`, by language.
    """

    name = "Read sources"
    type = "M5SER"

    def __init__(self, shards: Sequence[Shard], slices: Mapping[str, Path], config: BuildConfig):
        super().__init__()
        self.shards, self.slices, self.config = shards, slices, config
        self.emotions = frozenset(config.counted_emotions())

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Yield one document per row, with its [`Clip`] in `metadata["clip"]`."""
        shard = self.shards[rank]
        rows = parquet.ParquetFile(self.slices[shard.language]).read_row_group(shard.index).to_pylist()
        for row in rows:
            clip = self.read(row, shard.language)
            yield Document(text=row["transcript"] or "", id=clip.id, metadata={CLIP: clip})

    def read(self, row: dict[str, Any], language: str) -> Clip:
        """Load the recording of a row at 16 kHz, or reject the row."""
        clip = Clip(row=row, language=language)
        if row["emotion"] not in self.emotions:
            clip.reject("read", f"emotion {row['emotion'] or 'unknown'} is not in the label set")
        elif row["language"] not in (None, self.config.source_language):
            clip.reject("read", f"speaks {row['language']}, not {self.config.source_language}")
        else:
            try:
                audio = row["audio"]
                clip.source = load_audio(audio["bytes"] if audio["bytes"] is not None else audio["path"])
            except AudioError as error:
                _require_corpus(audio, error)
                # Without the path, because the rejects table is published.
                clip.reject("read", error.problem)
            else:
                if not audible(clip.source):
                    clip.reject("read", "is silent in 16 bits", float(np.abs(clip.source).max()))
        return clip


def _require_corpus(audio: Mapping[str, Any], error: AudioError) -> None:
    """Raise a SourceGoneError if the folder of an unreadable recording is unreadable or empty too."""
    if audio["bytes"] is not None:
        return
    try:
        with os.scandir(os.path.dirname(audio["path"])) as entries:
            reachable = next(entries, None) is not None
    except OSError:
        reachable = False
    if not reachable or isinstance(error.__cause__, OSError):
        where = "" if reachable else ", and its folder is missing or empty"
        raise SourceGoneError(
            f"{audio['path']}: {error.problem}{where}; make the corpus available again and {RUN_AGAIN}"
        ) from error


def _order(row: Row, *salt: Any) -> bytes:
    text = "\0".join(map(str, (*salt, row["corpus"], row["id"])))
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _round_robin(queues: Sequence[Sequence[Row]]) -> Iterator[Row]:
    """Yield the first item of each queue, then the second of each, and so on."""
    turn, left = 0, [queue for queue in queues if queue]
    while left:
        yield from (queue[turn] for queue in left)
        turn += 1
        # Drop exhausted queues: one queue may be thousands of times longer than the others.
        left = [queue for queue in left if turn < len(queue)]
