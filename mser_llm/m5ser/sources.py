# SPDX-License-Identifier: Apache-2.0
"""The rows that are translated: listed once, in an order of their own, and cut into one fixed slice for each shard.

A rank reads its own slice, so that no worker holds more rows than its shard has. No recording is opened here.
"""

import hashlib
import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from mser_llm.m5ser.build_config import BuildConfig
from mser_llm.m5ser.clip import CLIP, Clip, audible
from mser_llm.m5ser.shards import Shard
from processing_mser.audio_mser import AudioError, load_audio


Row = Mapping[str, Any]


def read_sources(corpora: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of corpora given as NAME=PATH; readers' warnings are printed above the bar.

    Raises:
        CorpusError: a corpus that cannot be read.
    """
    rows: list[dict[str, Any]] = []
    for name, path in tqdm(parse_corpora(corpora).values(), desc="Listing corpora", unit="corpus"):
        reading = read_corpus(name, path)
        for warning in reading.warnings:
            tqdm.write(f"Warning: {name}: {warning}")
        rows += reading.rows
    return rows


def order_sources(rows: Iterable[Row], seed: int) -> list[Row]:
    """Rows in an order that the seed and their ids decide, wherever and however they were listed.

    Corpora, emotions and lengths are mixed evenly by it, so that shards cost about the same to build and each is a
    fair sample of the whole.

    Raises:
        ValueError: two rows of one corpus have the same id.
    """
    rows = sorted(rows, key=lambda row: _order(row, seed))
    counts = Counter((row["corpus"], row["id"]) for row in rows)
    for (corpus, id_), count in counts.items():
        if count > 1:
            raise ValueError(f"{corpus} has {count} rows with the id {id_!r}; give each corpus once, each clip once")
    return rows


def draw_sources(rows: Sequence[Row], config: BuildConfig, language: str) -> list[Row]:
    """So many of the ordered rows as `config.sample` asks for in a language, balanced over emotions and speakers.

    Every language draws for itself. An emotion that a label set merges counts as the word it is merged into. Rows
    outside the label sets, and of another language than the sources', are not
    drawn from.
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
    queues = [_turns(list(by_emotion[emotion].values())) for emotion in words if emotion in by_emotion]
    chosen = {id(row) for row in _first(_turns([list(queue) for queue in queues]), config.sample)}
    return [row for row in rows if id(row) in chosen]


def describe_sources(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Of each corpus the number of its rows and the SHA-256 of what they say, their places on disk left out."""
    columns = [name for name in ROW_SCHEMA.names if name not in ("audio", "duration")]
    digests: dict[str, Any] = defaultdict(hashlib.sha256)
    counts: Counter[str] = Counter()
    for row in sorted(rows, key=lambda row: (row["corpus"], row["id"])):
        line = json.dumps([row[name] for name in columns], ensure_ascii=False)
        digests[row["corpus"]].update(f"{line}\n".encode())
        counts[row["corpus"]] += 1
    return {corpus: {"rows": counts[corpus], "sha256": digests[corpus].hexdigest()} for corpus in sorted(counts)}


def write_slices(rows: Sequence[Row], path: Path, slices: int) -> None:
    """Writes rows as one Parquet row group for each slice."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_open(path, "wb") as file, parquet.ParquetWriter(file, ROW_SCHEMA) as writer:
        for index in range(slices):
            part = rows[len(rows) * index // slices : len(rows) * (index + 1) // slices]
            table = pa.Table.from_pylist([_placed(row) for row in part], schema=ROW_SCHEMA)
            writer.write_table(table, row_group_size=max(1, len(part)))


def _placed(row: Row) -> dict[str, Any]:
    """The row with its recording's place as any worker finds it; what lies inside a Parquet file comes along."""
    audio = row["audio"]
    content, path = audio["bytes"], audio["path"]
    return {**row, "audio": {"bytes": content, "path": os.path.abspath(path) if content is None else path}}


def slice_sizes(path: Path) -> list[int]:
    """Rows of each slice."""
    metadata = parquet.read_metadata(path)
    return [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]


class SourceGoneError(OSError):
    """A corpus cannot be reached any more; the message is one line with the file and the cure."""


class ReadSources(PipelineStep):
    """Each row of the rank's slice with its recording; a row that cannot be used goes on as a rejection.

    Args:
        shards: of all ranks.
        slices: by language the file that `write_slices` wrote.
        config: the build's.
    """

    name = "Read sources"
    type = "M5SER"

    def __init__(self, shards: Sequence[Shard], slices: Mapping[str, Path], config: BuildConfig):
        super().__init__()
        self.shards, self.slices, self.config = shards, slices, config
        self.emotions = frozenset(config.counted_emotions())

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """One document a row; `metadata["clip"]` is its [`Clip`]."""
        shard = self.shards[rank]
        rows = parquet.ParquetFile(self.slices[shard.language]).read_row_group(shard.index).to_pylist()
        for row in rows:
            clip = self.read(row, shard.language)
            yield Document(text=row["transcript"] or "", id=clip.id, metadata={CLIP: clip})

    def read(self, row: dict[str, Any], language: str) -> Clip:
        """A row and its recording at 16 kHz, or why not.

        Raises:
            SourceGoneError: it is not the recording's fault.
        """
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
                _require_place(audio, error)
                # Not the path, which is this machine's business: a rejects table is published.
                clip.reject("read", error.problem)
            else:
                if not audible(clip.source):
                    clip.reject("read", "is silent in 16 bits", float(np.abs(clip.source).max()))
        return clip


def _require_place(audio: Mapping[str, Any], error: AudioError) -> None:
    """Whether a recording that was listed is at fault itself, and not the disk or the share that it lies on."""
    if audio["bytes"] is not None:
        return
    try:
        with os.scandir(os.path.dirname(audio["path"])) as around:
            there = next(around, None) is not None
    except OSError:
        there = False
    if not there or isinstance(error.__cause__, OSError):
        raise SourceGoneError(
            f"{audio['path']}: {error.problem}{'' if there else ', and nor is anything beside it'}; bring the corpus "
            "back and run the same command again: finished shards stay"
        ) from error


def _order(row: Row, *salt: Any) -> bytes:
    text = "\0".join(map(str, (*salt, row["corpus"], row["id"])))
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _turns(queues: Sequence[Sequence[Row]]) -> Iterator[Row]:
    """One of each queue, then the next of each, until all are empty."""
    turn, left = 0, [queue for queue in queues if queue]
    while left:
        yield from (queue[turn] for queue in left)
        turn += 1
        # Those that are empty are let go: one queue may be thousands of times as long as most.
        left = [queue for queue in left if turn < len(queue)]


def _first(rows: Iterator[Row], count: int) -> Iterator[Row]:
    return (row for row, _ in zip(rows, range(count)))
