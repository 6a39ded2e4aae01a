# SPDX-License-Identifier: Apache-2.0
"""Table 2 of the low-resource paper: where one system confuses emotions less than another, and for whom.

Gong et al., Sec. 4.1 and 4.2: a better average may rest on one gender alone, so each gender has a matrix of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mser_llm.evaluation.predictions import Predictions
from mser_llm.evaluation.protocols import LeakReport
from mser_llm.evaluation.statistics.bootstrap import paired_difference
from mser_llm.io.atomic_files import write_json
from mser_llm.reproduction.formatting import format_points, with_minus_sign
from mser_llm.reproduction.published import (
    CONFUSION_DIFFERENCE,
    CONFUSION_DIFFERENCE_CLIPS,
    CONFUSION_DIFFERENCE_PLACE,
    CONFUSION_DIFFERENCE_WORDS,
)


ALL = "all"


@dataclass(frozen=True)
class ConfusionDifference:
    """
    One system's confusion matrix less another's.

    Attributes:
        group: `ALL`, or a gender.
        n: clips.
        difference: `(num_labels, num_labels)` of the shares of each row, other less baseline, mean over runs; NaN in
            the row of a label without clips.
        UA: `difference` of UA with its interval `low`, `high` and `p`, as `paired_difference` gives them.
    """

    group: str
    n: int
    difference: np.ndarray
    UA: Mapping[str, Any]


def shares(predictions: Predictions) -> np.ndarray:
    """The confusion matrix with rows (truth) that sum to 1, or to less where an answer was unparsed."""
    figures = predictions.metrics()
    counts = np.array(figures["confusion"], dtype=float)
    support = counts.sum(axis=1) + np.array(figures["confusion_unparsed"])
    return counts / np.where(support, support, np.nan)[:, None]


def confusion_differences(baseline: Sequence[Predictions], other: Sequence[Predictions]) -> list[ConfusionDifference]:
    """
    Of all clips, and of each gender that is known.

    Args:
        baseline, other: one for each seed, over the same clips, as many of both.

    Raises:
        ValueError: not as many of both.
    """
    genders = sorted({gender for gender in baseline[0].genders if gender is not None})
    made = []
    for group in (ALL, *genders):
        first, second = ([_of(run, group) for run in runs] for runs in (baseline, other))
        difference = np.mean([shares(run) for run in second], axis=0) - np.mean([shares(run) for run in first], axis=0)
        ua = paired_difference(second, first, "UA", matched=True)
        made.append(ConfusionDifference(group, len(first[0]), difference, ua))
    return made


def _of(predictions: Predictions, group: str) -> Predictions:
    return predictions if group == ALL else predictions.subset([gender == group for gender in predictions.genders])


def write_confusion_differences(
    found: Sequence[ConfusionDifference], words: Sequence[str], folder: Path, leaks: Mapping[str, LeakReport]
) -> str:
    """
    Writes `lowresource-table2.json`.

    Args:
        found: what `confusion_differences` gives.
        words: the rows and columns of the matrices.
        folder: is made if need be.
        leaks: what each model heard of the tested clips, by its name.

    Returns:
        What was heard, and the matrices in Markdown, with the paper's, in percentage points.
    """
    parts = _heard(leaks)
    parts += [_matrix(f"{one.group}, {one.n} clips, {_told(one.UA)}", words, 100 * one.difference) for one in found]
    published = np.array(CONFUSION_DIFFERENCE) / np.array(CONFUSION_DIFFERENCE_CLIPS)[:, None]
    parts.append(_matrix(CONFUSION_DIFFERENCE_PLACE, CONFUSION_DIFFERENCE_WORDS, 100 * published))
    write_json(
        folder / "lowresource-table2.json",
        {
            "labels": list(words),
            "leak": {model: leak.as_dict() for model, leak in leaks.items()},
            "groups": [asdict(one) | {"difference": _nested(one.difference)} for one in found],
            "published": {"place": CONFUSION_DIFFERENCE_PLACE, "labels": list(CONFUSION_DIFFERENCE_WORDS)}
            | {"difference": published.tolist(), "printed": [list(row) for row in CONFUSION_DIFFERENCE]},
        },
    )
    return "\n".join(parts)


def _heard(leaks: Mapping[str, LeakReport]) -> list[str]:
    """What marks the matrices, and what could not be checked, each in a line."""
    said = [f"LEAK: {model}: {leak}" for model, leak in leaks.items() if leak.found]
    said += [f"{model}: {leak.mark}" for model, leak in leaks.items() if leak.mark]
    # What the tested clips lack is the same for each model.
    said += dict.fromkeys(f"not checked: {one}" for leak in leaks.values() for one in leak.unchecked)
    return [f"{line}\n" for line in said]


def _told(ua: Mapping[str, Any]) -> str:
    sure = "" if ua["low"] is None else f" [{format_points(ua['low'])}, {format_points(ua['high'])}], p {ua['p']:.3f}"
    return f"UA {format_points(ua['difference'])}{sure}"


def _matrix(title: str, words: Sequence[str], cells: np.ndarray) -> str:
    rows = [["truth \\ answer", *words], ["---", *["---:"] * len(words)]]
    said = [["–" if np.isnan(cell) else with_minus_sign(f"{cell:+.0f}") for cell in row] for row in cells]
    rows += [[word, *row] for word, row in zip(words, said)]
    return "\n".join([f"{title}:", "", *(f"| {' | '.join(row)} |" for row in rows), ""])


def _nested(difference: np.ndarray) -> list[list[float | None]]:
    return [[None if np.isnan(cell) else float(cell) for cell in row] for row in difference]
