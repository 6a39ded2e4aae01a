# SPDX-License-Identifier: Apache-2.0
"""Select the training and validation clips of a run."""

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mser_llm.data.clips import Clip, Rejection, index_clips
from mser_llm.data.loaded_corpus import UNLABELED
from mser_llm.data.schema import M5SER_CORPUS
from mser_llm.data.splits import published_part, recording_names, speaker_split
from mser_llm.io.errors import InputError
from mser_llm.training.arguments import DataArguments
from processing_mser import LabelSet, label_set


ENGLISH = "en"
Row = Mapping[str, Any]


@dataclass(frozen=True)
class TrainingData:
    """
    The training and validation clips of a run.

    Attributes:
        train, validation: clips; `validation` is empty if nothing is held out. No speaker is in both, except in
            corpora whose published splits share speakers (`validation_splits`).
        dropped: number of rows outside the label set, by emotion.
        rejections: rows whose audio cannot be used.
        other_splits: number of rows in published splits that neither `train_splits` nor `validation_splits` names,
            by corpus and split.
    """

    train: list[Clip]
    validation: list[Clip]
    dropped: dict[str, int]
    rejections: list[Rejection]
    other_splits: Mapping[str, int] = field(default_factory=dict)


def stage_rows(rows: Sequence[Row], stage: str, mix: str = "add") -> list[Row]:
    """Select English rows for stage `"1"`, all for `"joint"`; in stage `"2"`, the mix `"replace"` removes English."""
    if stage == "1":
        return [row for row in rows if row["language"] == ENGLISH]
    if stage == "2" and mix == "replace":
        return [row for row in rows if row["language"] != ENGLISH]
    return list(rows)


def prepare_data(rows: Sequence[Row], arguments: DataArguments) -> TrainingData:
    """
    Turn the rows of a stage into training and validation clips.

    The first of these that applies decides the split:

    - `validation_corpora` are held out completely.
    - A corpus that publishes one of `validation_splits` is split by it.
    - Any other corpus is split by speaker if `validation_fraction` is positive.

    Each corpus is split by speaker before the rows of the stage are selected, so that stage 2 holds out the speakers
    of stage 1, whatever corpora are added. M5SER comes last: a translation follows the speaker of its source.

    Clips of a language or corpus whose emotions are not used become unlabelled training clips. Those of a held-out
    speaker are dropped.

    Raises:
        InputError: no training or validation clips are left, or a corpus of `validation_corpora` is missing.
    """
    labels = label_set(arguments.labels)
    kept: list[Row] = []
    dropped: Counter[str] = Counter()
    rows, other_splits = _of_the_splits(rows, arguments)
    # A misspelled language would remove the emotions of its clips, a misspelled corpus would keep them.
    for setting, kind in (("labelled_languages", "language"), ("unlabelled_corpora", "corpus")):
        known = {row[kind] for row in rows}
        missing = [name for name in getattr(arguments, setting) if name not in known]
        if missing:
            found = ", ".join(sorted(name or "unknown" for name in known))
            problem = f"no clip has this {kind}; those of the clips are {found}"
            raise InputError(f"{setting} {', '.join(missing)}", problem, "pass some of these")
    for row in rows:
        used = not arguments.labelled_languages or row["language"] in arguments.labelled_languages
        used &= row["corpus"] not in arguments.unlabelled_corpora
        if used and not arguments.unlabelled and labels.map(row["emotion"]) is None:
            dropped[row["emotion"] or UNLABELED] += 1
        else:
            kept.append(row if used else {**row, "emotion": None})
    if not kept:
        found = ", ".join(sorted({str(row["emotion"]) for row in rows} - {"None"})) or "unknown"
        raise InputError(
            f"labels {', '.join(labels.words)}",
            f"none of the {len(rows)} rows has one of these emotions; their emotions are {found}",
            "pass other labels or another corpus",
        )
    corpora = sorted(dict.fromkeys(row["corpus"] for row in kept), key=lambda corpus: corpus == M5SER_CORPUS)
    by_corpus = {corpus: [row for row in kept if row["corpus"] == corpus] for corpus in corpora}
    divide = _hold_out_corpora if arguments.validation_corpora else _divided
    parts = divide(by_corpus, arguments)
    clips: dict[str, list[Clip]] = {"training": [], "validation": []}
    rejections: list[Rejection] = []
    for name, part in parts.items():
        if name == "validation" and arguments.validation_splits and not part:
            raise InputError(
                f"validation_splits {', '.join(arguments.validation_splits)}",
                "no clip of the label set is in such a split",
                "pass a split that a corpus publishes, or a validation_fraction",
            )
        every_stage = name == "validation" and arguments.validation_corpora
        chosen = part if every_stage else stage_rows(part, arguments.stage, arguments.stage2_mix)
        if not chosen:
            languages = sorted({row["language"] or "unknown" for row in part})
            raise InputError(
                f"stage {arguments.stage}",
                f"no {name} rows; the languages of the corpora are {', '.join(languages)}",
                f"stage 1 needs English ({ENGLISH}): add it in the column language of a table, or pass --stage joint",
            )
        clips[name], unusable = index_clips(
            chosen, labels, max_seconds=arguments.max_clip_seconds, min_seconds=arguments.min_clip_seconds
        )
        rejections += unusable
    train, copies = _without_copies(clips["training"], clips["validation"])
    return TrainingData(train, clips["validation"], dict(dropped), [*rejections, *copies], other_splits)


def _of_the_splits(rows: Sequence[Row], arguments: DataArguments) -> tuple[list[Row], dict[str, int]]:
    """
    Select the rows of `train_splits` and `validation_splits`; count the others by corpus and split.

    A corpus without any of these splits is used completely, with a warning if it has others.
    """
    if not arguments.train_splits:
        return list(rows), {}
    names = {*arguments.train_splits, *arguments.validation_splits}
    placed = [(row, *published_part(row)) for row in rows]
    divided = {corpus for _, corpus, part in placed if part in names}
    others = {(corpus, part) for _, corpus, part in placed if part is not None and corpus not in divided}
    parts = sorted(f"{corpus} {part}" for corpus, part in others)
    if parts:
        warnings.warn(
            f"train_splits {', '.join(arguments.train_splits)}: some corpora have other splits and are used "
            f"completely: {', '.join(parts)}",
            stacklevel=3,
        )
    aside = [(corpus, part) for _, corpus, part in placed if corpus in divided and part not in names]
    counts = Counter(f"{corpus} {part or '(no split)'}" for corpus, part in aside)
    left = [row for row, corpus, part in placed if corpus not in divided or part in names]
    return left, dict(sorted(counts.items()))


def _divided(by_corpus: Mapping[str, Sequence[Row]], arguments: DataArguments) -> dict[str, list[Row]]:
    """Split by published split or else by speaker; validation has labelled rows only."""
    if not arguments.validates:
        return {"training": [row for rows in by_corpus.values() for row in rows]}
    names = arguments.validation_splits
    placed = [(name, row, *published_part(row)) for name, rows in by_corpus.items() for row in rows]
    divided = {corpus for *_, corpus, part in placed if part in names}
    parts: dict[str, list[Row]] = {"training": [], "validation": []}
    others: dict[str, list[Row]] = {}
    for name, row, corpus, part in placed:
        if corpus not in divided:
            others.setdefault(name, []).append(row)
        elif part not in names:
            parts["training"].append(row)
        elif row["emotion"] is not None:
            parts["validation"].append(row)
    sides: dict[str, str] = {}
    for rows in others.values() if arguments.validation_fraction > 0 else ():
        own = [row for row in rows if row["emotion"] is not None and _speaker_keys(row)[0] not in sides]
        # A corpus of one speaker cannot be split; it is trained on, and the other corpora validate.
        others_validate = len(others) > 1 or bool(parts["validation"])
        single = others_validate and len({row["speaker"] or row["id"] for row in own}) == 1
        if own and not others_validate and len({_speaker_keys(row)[0] for row in own}) == 1:
            raise InputError(
                f"validation_fraction {arguments.validation_fraction:g}",
                f"all {len(own)} clips of the label set are of one speaker, so no other speaker can validate",
                "add clips of another speaker, or hold nothing out (validation_fraction 0, average_from 0.3)",
            )
        if own and not single:
            held = speaker_split(own, arguments.validation_fraction, arguments.split_seed)
            chosen = [(row, name) for name, side in zip(parts, held, strict=True) for row in side]
            sides |= {key: name for row, name in chosen for key in _speaker_keys(row)}
    for row in (row for rows in others.values() for row in rows):
        side = sides.get(_speaker_keys(row)[0], "training")
        if side == "training" or row["emotion"] is not None:
            parts[side].append(row)
    return parts


def _hold_out_corpora(by_corpus: Mapping[str, Sequence[Row]], arguments: DataArguments) -> dict[str, list[Row]]:
    """Hold out `validation_corpora`; translations of held-out clips are dropped."""
    names = arguments.validation_corpora
    missing = [name for name in names if name not in by_corpus]
    if missing or set(names) == set(by_corpus):
        raise InputError(
            f"validation_corpora {', '.join(names)}",
            f"the corpora with clips of the label set are {', '.join(by_corpus)}",
            "pass some of these, and leave one to train on",
        )
    held = [row for name in names for row in by_corpus[name] if row["emotion"] is not None]
    held_keys = {key for row in held for key in _speaker_keys(row)}
    rest = [row for name, rows in by_corpus.items() if name not in names for row in rows]
    return {"training": [row for row in rest if held_keys.isdisjoint(_speaker_keys(row))], "validation": held}


def _without_copies(train: Sequence[Clip], validation: Sequence[Clip]) -> tuple[list[Clip], list[Rejection]]:
    """Remove training clips whose file is also a validation clip, e.g. if a corpus is given twice."""

    def path(clip: Clip) -> str:
        return clip.row["audio"]["path"]

    held = {clip.key: clip for clip in validation}
    copies = [clip for clip in train if clip.key in held]
    left = [clip for clip in train if clip.key not in held]
    if copies and not left:
        problem = f"the same file as the validation clip {path(held[copies[0].key])}, as is every other training clip"
        raise InputError(path(copies[0]), problem, "pass each recording once")
    reason = "{}: the same file as the validation clip {}; pass each recording once"
    return left, [Rejection(clip.row, reason.format(path(clip), path(held[clip.key]))) for clip in copies]


def _speaker_keys(row: Row) -> tuple[str, ...]:
    """Return the speaker; if unknown, the names of the recording, which its translations share."""
    return (row["speaker"],) if row["speaker"] is not None else recording_names(row)


def without_rejected(data: TrainingData, rejections: Sequence[Rejection]) -> TrainingData:
    """Remove clips whose audio could not be read."""

    def place(row: Row) -> tuple[str, str, str | None]:
        return row["corpus"], row["id"], row["audio"]["path"]  # ids alone may repeat across a user's folders

    # Each view of a clip reports it once.
    unusable = {place(rejection.row): rejection for rejection in rejections}

    def usable(clips: list[Clip]) -> list[Clip]:
        return [clip for clip in clips if place(clip.row) not in unusable]

    train, validation = usable(data.train), usable(data.validation)
    for name, left, before in (("training", train, data.train), ("validation", validation, data.validation)):
        if not left and (before or name == "training"):
            reason = [*rejections, *data.rejections][0].reason
            raise InputError(f"{name} clips", f"none can be read, the first because of {reason}")
    rejections = [*data.rejections, *unusable.values()]
    return replace(data, train=train, validation=validation, rejections=rejections)


def log_dataset_summary(data: TrainingData, labels: LabelSet) -> None:
    """Print the training and validation clips, and what was dropped or rejected."""
    for name, clips in (("training", data.train), ("validation", data.validation)):
        if not clips:
            continue
        counts = Counter(clip.emotion for clip in clips)
        languages = Counter(clip.row["language"] or "unknown language" for clip in clips)
        speakers = len({clip.row["speaker"] for clip in clips} - {None})
        unnamed = sum(clip.row["speaker"] is None for clip in clips)
        people = f"{speakers} speakers" + (f" and {unnamed} of unknown speakers" if unnamed else "")
        emotions = ", ".join(f"{word} {counts[word]}" for word in labels.words)
        emotions += f", without one of these {counts[None]}" if counts[None] else ""
        print(f"{len(clips)} {name} clips of {people}: {emotions}; {dict(languages)}")
    both = {clip.row["speaker"] for clip in data.train} & {clip.row["speaker"] for clip in data.validation} - {None}
    if both:
        parts = sorted(
            {" ".join(map(str, published_part(clip.row))) for clip in data.validation if clip.row["speaker"] in both}
        )
        print(
            f"{len(both)} speakers are in training and in validation, as the corpus is published: {', '.join(parts)}"
        )
    if data.other_splits:
        print(f"Left out, because they are in other published splits: {data.other_splits}")
    if data.dropped:
        words = ", ".join(f"{word} {number}" for word, number in sorted(data.dropped.items()))
        print(f"Dropped, because they are outside the label set: {words}")
    for rejection in data.rejections[:10]:
        print(f"Rejected: {rejection.reason}")
    if len(data.rejections) > 10:
        print(f"… and {len(data.rejections) - 10} more, all in train_results.json")
