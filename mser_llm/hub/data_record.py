# SPDX-License-Identifier: Apache-2.0
"""What a run trained on, as `train_results.json` keeps it and the model card tells it."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from mser_llm.data.clips import Clip
from mser_llm.data.lineage import speech_record
from mser_llm.data.splits import recording
from mser_llm.evaluation.protocols import TrainingRecord, UnlabeledTraining, record_from_rows
from mser_llm.evaluation.protocols.training_record import short_digest
from processing_mser import LabelSet


def data_record(
    train: Sequence[Clip], validation: Sequence[Clip], labels: LabelSet, earlier: TrainingRecord | None = None
) -> dict[str, Any]:
    """
    JSON-ready: the label set, training clips by emotion and language, the sources with clips and seconds, the split.

    `heard` is what a test must not share (`mser_llm.evaluation.protocols.leaks`): speakers, corpora and languages of
    training, validation and the earlier stages, the recordings of the clips that have no speaker, and the files of all
    that are not M5SER's, by content.
    `heard_unlabelled`, there where it is not empty, is the same of the clips whose emotion was not used, which a test
    may share and is then marked.

    Args:
        train, validation: clips.
        labels: the label set.
        earlier: the record of the stage before.

    `split.sha256` names the division of speakers: of the lines `PART CORPUS SPEAKER`, sorted, where a clip without a
    speaker stands with its id in the speaker's place. Two runs with the same hash held out the same people.
    """
    emotions = Counter(clip.emotion for clip in train)
    parts = {"train": train, "validation": validation}
    lines = sorted(
        {
            f"{part} {clip.row['corpus']} {clip.row['speaker'] or clip.row['id']}"
            for part, own in parts.items()
            for clip in own
        }
    )
    return {
        "label_set": labels.name,
        "labels": list(labels.words),
        "emotions": {word: emotions[word] for word in labels.words},
        **speech_record(train),
        **_heard_by_label([*train, *validation], earlier),
        "split": {
            "sha256": hashlib.sha256("\n".join(lines).encode()).hexdigest(),
            "speakers": {part: _speakers(own) for part, own in parts.items()},
            "clips_without_speaker": sum(clip.row["speaker"] is None for own in parts.values() for clip in own),
        },
    }


def trained_files(clips: Iterable[Clip]) -> set[str]:
    """
    The files of training clips whose emotion was learnt, by content: where nobody says who speaks, they alone tell a
    later stage whom not to be judged by. A clip of M5SER has the speaker of its source.
    """
    return {short_digest(clip.key) for clip in clips if clip.emotion is not None and not clip.row.get("source_corpus")}


def _heard(clips: Sequence[Clip], earlier: TrainingRecord | UnlabeledTraining | None) -> dict[str, list[str]]:
    own = record_from_rows(clip.row for clip in clips)
    unnamed = {recording(clip.row) for clip in clips if clip.row["speaker"] is None}
    heard = {"speakers": own.speakers, "recordings": unnamed, "corpora": own.corpora, "languages": own.languages}
    # No other corpus holds the files of M5SER, and the names of their sources know them again.
    heard["files"] = frozenset(short_digest(clip.key) for clip in clips if clip.row.get("source_corpus") is None)
    before = {name: getattr(earlier, name) or () for name in heard} if earlier is not None else {}
    return {name: sorted({*values, *before.get(name, ())}) for name, values in heard.items()}


def _heard_by_label(clips: Sequence[Clip], earlier: TrainingRecord | None) -> dict[str, dict[str, list[str]]]:
    with_emotion = [clip for clip in clips if clip.emotion is not None]
    without = _heard([clip for clip in clips if clip.emotion is None], None if earlier is None else earlier.unlabelled)
    unlabelled = {"heard_unlabelled": without} if any(without.values()) else {}
    return {"heard": _heard(with_emotion, earlier)} | unlabelled


def _speakers(clips: Sequence[Clip]) -> int:
    return len({clip.row["speaker"] for clip in clips} - {None})
