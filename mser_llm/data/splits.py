# SPDX-License-Identifier: Apache-2.0
"""Splits in which nobody speaks on both sides, and the check that refuses any other."""

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mser_llm.data.corpora import FOLDER


Row = Mapping[str, Any]
_TRIALS = 200
_ROUNDING = 1e-9
_NAMED = 10


class SpeakerLeakError(ValueError):
    """The same speakers, or the same clips, are on both sides of a split."""


def speaker_split(rows: Sequence[Row], fraction: float, seed: int) -> tuple[list[Row], list[Row]]:
    """Divide rows into training and validation by speaker.

    Of many seeded random orders of the speakers, the beginning of that order is taken for validation that comes
    nearest to `fraction` of the clips in every corpus, language and emotion, and before all leaves no emotion that
    training lacks. Each clip without a speaker counts as a speaker of its own, together with its translations where it
    is of M5SER, and a warning says that independence is unchecked.

    Args:
        rows: at least two speakers.
        fraction: the share of the clips wanted for validation, between 0 and 1.
        seed: equal seeds and rows give equal splits.

    Returns:
        (training rows, validation rows), each in the given order.

    Raises:
        ValueError: a fraction outside (0, 1), or fewer than two speakers.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"the validation fraction is {fraction}; give a number between 0 and 1, such as 0.1")
    null = sum(row["speaker"] is None for row in rows)
    if null:
        warnings.warn(
            f"{null} of {len(rows)} clips have no speaker, so the split may put one person on both sides; give the "
            "speakers, for example in the speaker column of a CSV",
            stacklevel=2,
        )
    names = [row["speaker"] if row["speaker"] is not None else _clip(row, i) for i, row in enumerate(rows)]
    speakers = {name: i for i, name in enumerate(dict.fromkeys(names))}
    if len(speakers) < 2:
        raise ValueError(
            f"{len(rows)} clips of {len(speakers)} speaker(s) cannot be split by speaker; add clips of another "
            "speaker, or give validation clips of their own"
        )
    counts = _counts(rows, [speakers[name] for name in names], len(speakers))
    chosen = _choose(*counts, fraction, np.random.default_rng(seed))
    validation = [speakers[name] in chosen for name in names]
    return (
        [row for row, held in zip(rows, validation) if not held],
        [row for row, held in zip(rows, validation) if held],
    )


def check_speaker_leak(train: Iterable[Row], test: Iterable[Row]) -> None:
    """Refuse a test on speakers, or on clips, that were trained on.

    Clips without a speaker are compared by their file; a warning says that their independence cannot be checked.

    Raises:
        SpeakerLeakError: names the speakers or clips.
    """
    train, test = list(train), list(test)
    both = {row["speaker"] for row in train} & {row["speaker"] for row in test} - {None}
    if both:
        raise SpeakerLeakError(
            f"{len(both)} speaker(s) are in training and in test: {_some(both)}; leave them out of one, or give "
            "different people different names"
        )
    clips = {row["audio"]["path"] for row in train} & {row["audio"]["path"] for row in test} - {None}
    if clips:
        raise SpeakerLeakError(
            f"{len(clips)} clip(s) are in training and in test: {_some(clips)}; leave them out of one"
        )
    null = [sum(row["speaker"] is None for row in side) for side in (train, test)]
    if any(null):
        warnings.warn(
            f"speaker independence cannot be checked: {null[0]} of {len(train)} training and {null[1]} of {len(test)} "
            "test clips have no speaker",
            stacklevel=2,
        )


def recording(row: Row) -> str:
    """Names what was recorded: `CORPUS/ID` of the row itself or, in M5SER, of the source that it says again.

    A user's own clip is named by its file, because two folders may use the same names.
    """
    if row.get("source_corpus") is not None:
        return row["id"].rpartition("/")[0]
    path = row["audio"]["path"]
    own = row["corpus"] == FOLDER and path is not None
    return f"{row['corpus']}/{os.path.abspath(path) if own else row['id']}"


def recording_names(row: Row) -> tuple[str, str]:
    """The recording of a row, and what its translations call it, which know a user's own clip by its id alone."""
    return recording(row), f"{row['corpus']}/{row['id']}"


def published_part(row: Row) -> tuple[str, str | None]:
    """The corpus that recorded a row, and the part of that corpus's own division: of a translation, its source's."""
    if row.get("source_corpus") is not None:
        return row["source_corpus"], row.get("source_split")
    return row["corpus"], row["split"]


def _clip(row: Row, index: int) -> tuple[str, Any]:
    """The clip; of M5SER its source, which the id names before the language: translations keep the voice."""
    return ("clip", index if row.get("source_corpus") is None else row["id"].rpartition("/")[0])


def _counts(rows: Sequence[Row], speakers: Sequence[int], num_speakers: int) -> tuple[np.ndarray, np.ndarray]:
    """Clips of each speaker (num_speakers, num_strata); the emotion of each stratum (num_strata, num_emotions)."""
    strata = [(row["corpus"], row["language"], row["emotion"]) for row in rows]
    order = {stratum: i for i, stratum in enumerate(dict.fromkeys(strata))}
    emotions = {emotion: i for i, emotion in enumerate(dict.fromkeys(stratum[2] for stratum in order))}
    counts = np.zeros((num_speakers, len(order)))
    np.add.at(counts, (speakers, [order[stratum] for stratum in strata]), 1)
    membership = np.zeros((len(order), len(emotions)))
    membership[range(len(order)), [emotions[stratum[2]] for stratum in order]] = 1
    return counts, membership


def _choose(counts: np.ndarray, membership: np.ndarray, fraction: float, rng: np.random.Generator) -> set[int]:
    total, sizes = counts.sum(axis=0), counts.sum(axis=1)
    # Of an emotion of one speaker alone, one side or the other has none.
    least = int(((counts @ membership > 0).sum(axis=0) == 1).sum())
    best_score, best = np.inf, np.zeros(0, dtype=int)
    for _ in range(_TRIALS):
        order = rng.permutation(len(counts))
        # Over its strata together a beginning is never further off than over each of them: of thousands of clips
        # without a speaker, few beginnings can be better than the best so far, and the others need no look.
        off = np.abs(np.cumsum(sizes[order])[:-1] - fraction * total.sum()) / total.sum()
        near = np.flatnonzero(least + off < best_score + _ROUNDING)
        if not len(near):
            continue
        first, end = near[0], near[-1] + 1
        held = counts[order[:first]].sum(axis=0) + np.cumsum(counts[order[first:end]], axis=0)
        score = np.abs(held - fraction * total).sum(axis=1) / total.sum()
        lost = (((total - held) @ membership == 0) & (total @ membership > 0)).sum(axis=1)
        unseen = ((held @ membership == 0) & (total @ membership > 0)).sum(axis=1)
        # An emotion that training lacks cannot be learnt; one that validation lacks only goes unmeasured.
        score += 100 * lost + 1 * unseen
        if score.min() < best_score:
            best_score, best = score.min(), order[: first + int(score.argmin()) + 1]
    return set(best.tolist())


def _some(names: Iterable[Any]) -> str:
    ordered = sorted(map(str, names))
    return ", ".join(ordered[:_NAMED]) + (f" and {len(ordered) - _NAMED} more" if len(ordered) > _NAMED else "")
