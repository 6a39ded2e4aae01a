# SPDX-License-Identifier: Apache-2.0
"""Record the training data for `train_results.json` and the model card."""

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
    Return the label set, training clips by emotion and language, sources with clips and seconds, and the split.

    - `heard`: what a test must not share with training, validation and earlier stages
      (`mser_llm.evaluation.protocols.leaks`): speakers, corpora, languages; the recordings of clips without a speaker;
      the digests of all files that are not from M5SER.
    - `heard_unlabelled`: the same for clips whose emotion was not used, if there are any. A test may share them,
      and is then marked.
    - `split.sha256`: the hash of the sorted lines `PART CORPUS SPEAKER`, with the id of a clip that has no speaker.
      Runs with the same hash held out the same speakers.

    Args:
        train, validation: clips.
        labels: the label set.
        earlier: the record of the previous stage.
    """
    emotions = Counter(clip.emotion for clip in train)
    parts = {"train": train, "validation": validation}
    rows = [(part, clip.row) for part, own in parts.items() for clip in own]
    lines = sorted({f"{part} {row['corpus']} {row['speaker'] or row['id']}" for part, row in rows})
    return {
        "label_set": labels.name,
        "labels": list(labels.words),
        "emotions": {word: emotions[word] for word in labels.words},
        **speech_record(train),
        **_record_by_label([*train, *validation], earlier),
        "split": {
            "sha256": hashlib.sha256("\n".join(lines).encode()).hexdigest(),
            "speakers": {part: len({clip.row["speaker"] for clip in own} - {None}) for part, own in parts.items()},
            "clips_without_speaker": sum(row["speaker"] is None for _, row in rows),
        },
    }


def trained_files(clips: Iterable[Clip]) -> set[str]:
    """
    Return the digests of the files of labelled training clips, which a later stage excludes from its validation data.

    Clips of M5SER are left out, because they have the speakers of their sources.
    """
    return {short_digest(clip.key) for clip in clips if clip.emotion is not None and not clip.row.get("source_corpus")}


def _record(clips: Sequence[Clip], earlier: TrainingRecord | UnlabeledTraining | None) -> dict[str, list[str]]:
    own = record_from_rows(clip.row for clip in clips)
    unnamed = {recording(clip.row) for clip in clips if clip.row["speaker"] is None}
    used = {"speakers": own.speakers, "recordings": unnamed, "corpora": own.corpora, "languages": own.languages}
    # Files of M5SER occur in no other corpus, and the names of their sources identify them.
    used["files"] = frozenset(short_digest(clip.key) for clip in clips if clip.row.get("source_corpus") is None)
    before = {name: getattr(earlier, name) or () for name in used} if earlier is not None else {}
    return {name: sorted({*values, *before.get(name, ())}) for name, values in used.items()}


def _record_by_label(clips: Sequence[Clip], earlier: TrainingRecord | None) -> dict[str, dict[str, list[str]]]:
    with_emotion = [clip for clip in clips if clip.emotion is not None]
    without = _record(
        [clip for clip in clips if clip.emotion is None], None if earlier is None else earlier.unlabelled
    )
    unlabelled = {"heard_unlabelled": without} if any(without.values()) else {}
    return {"heard": _record(with_emotion, earlier)} | unlabelled
