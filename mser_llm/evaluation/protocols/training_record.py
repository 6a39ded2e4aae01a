# SPDX-License-Identifier: Apache-2.0
"""Read what a checkpoint was trained on from its `train_results.json`."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from mser_llm.data.splits import recording
from mser_llm.io.errors import InputError


TRAIN_RESULTS = "train_results.json"
Row = Mapping[str, Any]


class TrainingRecordError(InputError):
    """A training record cannot be read."""


@dataclass(frozen=True)
class UnlabeledTraining:
    """Speech used in training without emotion labels.

    Attributes:
        speakers: of all clips; for M5SER the speakers of the source clips.
        recordings: names of the clips without a speaker, from `mser_llm.data.splits.recording`.
        corpora: for M5SER the source corpora.
        languages: ISO 639-1 codes.
        files: `short_digest` of each clip's file except M5SER's, which identifies files under any name.
    """

    speakers: frozenset[str] = frozenset()
    recordings: frozenset[str] = frozenset()
    corpora: frozenset[str] = frozenset()
    languages: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset()


@dataclass(frozen=True)
class TrainingRecord(UnlabeledTraining):
    """Labeled speech used in training, including validation and earlier stages.

    Attributes:
        without_speaker: the number of clips without a speaker.
        unlabelled: speech used without labels. It is not a leak, but a test of it is not strictly zero-shot.
    """

    without_speaker: int = 0
    unlabelled: UnlabeledTraining = field(default_factory=UnlabeledTraining)


def short_digest(content: str) -> str:
    """Shorten a SHA-256 to 16 digits, enough for millions of files."""
    return content[:16]


def record_from_rows(rows: Iterable[Row]) -> TrainingRecord:
    """Build the record of rows; it names every recording, whether its speaker is known or not."""
    rows = list(rows)
    return TrainingRecord(
        speakers=frozenset(row["speaker"] for row in rows if row["speaker"] is not None),
        recordings=frozenset(map(recording, rows)),
        corpora=frozenset(row.get("source_corpus") or row["corpus"] for row in rows),
        languages=frozenset(row["language"] for row in rows if row["language"]),
        without_speaker=sum(row["speaker"] is None for row in rows),
    )


def read_training_record(model: str | PathLike) -> TrainingRecord | None:
    """Read the record in a model's folder; return None without one, as for a model on the Hub.

    Raises:
        TrainingRecordError: the file is damaged.
    """
    file = Path(model).expanduser() / TRAIN_RESULTS
    if not file.is_file():
        return None
    try:
        data = json.loads(file.read_text(encoding="utf-8"))["data"]
        labeled, unlabelled = (
            {name: frozenset(values) for name, values in data.get(key, {}).items()}
            for key in ("heard", "heard_unlabelled")
        )
        without_speaker = len(labeled["recordings"])
        if absent := {"speakers", "corpora", "languages"} - labeled.keys():
            raise KeyError(*absent)
        return TrainingRecord(**labeled, without_speaker=without_speaker, unlabelled=UnlabeledTraining(**unlabelled))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise TrainingRecordError(
            file, "was not written by run-mser train, so leaks cannot be checked", "copy the model's folder again"
        ) from None
