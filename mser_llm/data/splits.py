# SPDX-License-Identifier: Apache-2.0
"""Split rows by speaker, and name the recordings and published parts that rows come from."""

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mser_llm.data.corpora import FOLDER
from mser_llm.io.errors import InputError


Row = Mapping[str, Any]
_TRIALS = 200
_ROUNDING = 1e-9


class SpeakerLeakError(ValueError):
    """Training and test share speakers or clips."""


def speaker_split(rows: Sequence[Row], fraction: float, seed: int) -> tuple[list[Row], list[Row]]:
    """
    Split rows into training and validation by speaker.

    Of 200 random orders of the speakers, the first speakers of one order become the validation speakers: those whose
    share of the clips is nearest to `fraction` in every corpus, language and emotion. Keeping every emotion in
    training has priority over the shares. A clip without a speaker counts as a speaker of its own, in M5SER together
    with its translations, and a warning says that independence is not checked.

    Args:
        rows: of at least two speakers.
        fraction: the share of the clips in validation, between 0 and 1.
        seed: equal seeds and rows give equal splits.

    Returns:
        (training rows, validation rows), each in the given order.

    Raises:
        InputError: a fraction outside (0, 1), or fewer than two speakers.
    """
    if not 0 < fraction < 1:
        raise InputError("validation fraction", f"is {fraction}", "pass a number between 0 and 1, such as 0.1")
    null = sum(row["speaker"] is None for row in rows)
    if null:
        warnings.warn(
            f"{null} of {len(rows)} clips have no speaker, so one person may be in training and in validation; "
            "name the speakers, for example in the column speaker of a CSV",
            stacklevel=2,
        )
    names = [row["speaker"] if row["speaker"] is not None else _clip(row, i) for i, row in enumerate(rows)]
    speakers = {name: i for i, name in enumerate(dict.fromkeys(names))}
    if len(speakers) < 2:
        raise InputError(
            "validation split",
            f"{len(rows)} clips of {len(speakers)} speaker(s) cannot be split by speaker",
            "add clips of another speaker, or pass separate validation clips",
        )
    counts = _counts(rows, [speakers[name] for name in names], len(speakers))
    chosen = _choose(*counts, fraction, np.random.default_rng(seed))
    validation = [speakers[name] in chosen for name in names]
    return (
        [row for row, is_validation in zip(rows, validation) if not is_validation],
        [row for row, is_validation in zip(rows, validation) if is_validation],
    )


def recording(row: Row) -> str:
    """
    Return the name of the original recording: `CORPUS/ID` of the row or, in M5SER, of its source.

    A user's own clip is named by its file, because two folders may use the same names.
    """
    if row.get("source_corpus") is not None:
        return row["id"].rpartition("/")[0]
    path = row["audio"]["path"]
    own = row["corpus"] == FOLDER and path is not None
    return f"{row['corpus']}/{os.path.abspath(path) if own else row['id']}"


def recording_names(row: Row) -> tuple[str, str]:
    """Return the recording of a row, and its name in translations, which know a user's own clip only by its id."""
    return recording(row), f"{row['corpus']}/{row['id']}"


def published_part(row: Row) -> tuple[str, str | None]:
    """Return the corpus and the published split of a row; of a translation, those of its source."""
    if row.get("source_corpus") is not None:
        return row["source_corpus"], row.get("source_split")
    return row["corpus"], row["split"]


def _clip(row: Row, index: int) -> tuple[str, Any]:
    """The clip or, in M5SER, its source: translations have the same speaker. Their ids end in the language."""
    return ("clip", index if row.get("source_corpus") is None else row["id"].rpartition("/")[0])


def _counts(rows: Sequence[Row], speakers: Sequence[int], num_speakers: int) -> tuple[np.ndarray, np.ndarray]:
    """Clips of each speaker `(num_speakers, num_strata)`; emotion of each stratum `(num_strata, num_emotions)`."""
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
    # An emotion of a single speaker is missing in one of the two parts.
    minimum = int(((counts @ membership > 0).sum(axis=0) == 1).sum())
    best_score, best = np.inf, np.zeros(0, dtype=int)
    for _ in range(_TRIALS):
        order = rng.permutation(len(counts))
        # The error over all clips is a lower bound of the error per stratum. It excludes most candidates, which
        # matters if thousands of clips have no speaker.
        error = np.abs(np.cumsum(sizes[order])[:-1] - fraction * total.sum()) / total.sum()
        near = np.flatnonzero(minimum + error < best_score + _ROUNDING)
        if not len(near):
            continue
        first, end = near[0], near[-1] + 1
        held = counts[order[:first]].sum(axis=0) + np.cumsum(counts[order[first:end]], axis=0)
        score = np.abs(held - fraction * total).sum(axis=1) / total.sum()
        lost = (((total - held) @ membership == 0) & (total @ membership > 0)).sum(axis=1)
        unseen = ((held @ membership == 0) & (total @ membership > 0)).sum(axis=1)
        # An emotion missing in training cannot be learned; one missing in validation is only not measured.
        score += 100 * lost + 1 * unseen
        if score.min() < best_score:
            best_score, best = score.min(), order[: first + int(score.argmin()) + 1]
    return set(best.tolist())
