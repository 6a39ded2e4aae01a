# SPDX-License-Identifier: Apache-2.0
"""Whom and what a checkpoint has heard, from the `train_results.json` beside it."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from mser_llm.data.splits import recording


TRAIN_RESULTS = "train_results.json"
Row = Mapping[str, Any]


class TrainingRecordError(ValueError):
    """A training record that cannot be read."""


@dataclass(frozen=True)
class UnlabeledTraining:
    """Speech that training heard without its emotions.

    Attributes:
        speakers, recordings, corpora, languages, files: as in `TrainingRecord`.
    """

    speakers: frozenset[str] = frozenset()
    recordings: frozenset[str] = frozenset()
    corpora: frozenset[str] = frozenset()
    languages: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset()


@dataclass(frozen=True)
class TrainingRecord:
    """What training heard with its emotions, its validation and its earlier stages included.

    Attributes:
        speakers: of all clips; of M5SER's the speakers of their sources.
        recordings: names of the clips that have no speaker, as `mser_llm.data.splits.recording` gives them; None in a
            record that was written before they were kept.
        corpora: those of the sources of M5SER and not M5SER itself.
        languages: ISO 639-1.
        without_speaker: how many clips have no speaker.
        unlabelled: what it heard without them; such speech is no leak, but a test of it is not zero-shot in the strict
            sense.
        files: what `short_digest` makes of the content of each clip's file, M5SER's left out, so that a file is known
            again under any name; empty in a record that was written before they were kept.
    """

    speakers: frozenset[str]
    recordings: frozenset[str] | None
    corpora: frozenset[str]
    languages: frozenset[str]
    without_speaker: int
    unlabelled: UnlabeledTraining = field(default_factory=UnlabeledTraining)
    files: frozenset[str] = frozenset()


def short_digest(content: str) -> str:
    """The first 16 digits of a file's SHA-256, which no two of a million files are likely to share."""
    return content[:16]


def record_from_rows(rows: Iterable[Row]) -> TrainingRecord:
    """The record of rows that are at hand; it names every recording, whether its speaker is known or not."""
    rows = list(rows)
    return TrainingRecord(
        speakers=frozenset(row["speaker"] for row in rows if row["speaker"] is not None),
        recordings=frozenset(map(recording, rows)),
        corpora=frozenset(row.get("source_corpus") or row["corpus"] for row in rows),
        languages=frozenset(row["language"] for row in rows if row["language"]),
        without_speaker=sum(row["speaker"] is None for row in rows),
    )


def read_training_record(model: str | PathLike) -> TrainingRecord | None:
    """The record of a model's folder; None where there is none, as beside a model of the Hub.

    Raises:
        TrainingRecordError: the file is damaged.
    """
    file = Path(model).expanduser() / TRAIN_RESULTS
    if not file.is_file():
        return None
    try:
        results = json.loads(file.read_text(encoding="utf-8"))
        # The first records had speakers alone, later ones what the speech was, too; one without is cut short, and not
        # of a model that heard nobody.
        speakers = results["speakers"]
        data = results.get("data", {"sources": [], "languages": {}, "split": {"clips_without_speaker": 0}})
        heard = data.get("heard", {})
        files = frozenset(heard.get("files", []))
        if "heard_unlabelled" in data:
            unlabelled = UnlabeledTraining(**{name: frozenset(own) for name, own in data["heard_unlabelled"].items()})
            own = {name: frozenset(heard[name]) for name in ("speakers", "recordings", "corpora", "languages")}
            without_speaker = len(own["recordings"])
            return TrainingRecord(**own, without_speaker=without_speaker, unlabelled=unlabelled, files=files)
        return TrainingRecord(
            speakers=frozenset([*speakers, *heard.get("speakers", [])]),
            recordings=frozenset(heard["recordings"]) if heard else None,
            corpora=frozenset([*heard.get("corpora", []), *(source["corpus"] for source in data["sources"])]),
            languages=frozenset([*heard.get("languages", []), *data["languages"]]),
            without_speaker=len(heard["recordings"]) if heard else data["split"]["clips_without_speaker"],
            files=files,
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise TrainingRecordError(
            f"{file}: is not what run-mser train writes, so leaks cannot be checked; copy the model's folder again"
        ) from None
