# SPDX-License-Identifier: Apache-2.0
"""Table 2 of the low-resource paper: the difference of two confusion matrices, for all clips and by gender.

Gong et al., Sec. 4.1 and 4.2: a better average may come from one gender only, so each gender has its own matrix.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mser_llm.evaluation.predictions import Predictions
from mser_llm.evaluation.protocols import LeakReport
from mser_llm.evaluation.statistics.bootstrap import paired_difference
from mser_llm.evaluation.tables import format_table
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
    One system's confusion matrix minus another's.

    Attributes:
        group: `ALL`, or a gender.
        n: clips.
        difference: `(num_labels, num_labels)`, shares of each row, other minus baseline, mean over runs; NaN in the
            row of a label without clips.
        UA: `difference` of UA with its interval `low`, `high` and `p`, as `paired_difference` gives them.
    """

    group: str
    n: int
    difference: np.ndarray
    UA: Mapping[str, Any]


def shares(predictions: Predictions) -> np.ndarray:
    """Normalize the confusion matrix by row (truth); a row sums to less than 1 if predictions were unparsed."""
    figures = predictions.metrics()
    counts = np.array(figures["confusion"], dtype=float)
    support = counts.sum(axis=1) + np.array(figures["confusion_unparsed"])
    return counts / np.where(support, support, np.nan)[:, None]


def confusion_differences(baseline: Sequence[Predictions], other: Sequence[Predictions]) -> list[ConfusionDifference]:
    """Compare two systems over all clips and over those of each gender."""
    genders = sorted({gender for gender in baseline[0].genders if gender is not None})
    differences = []
    for group in (ALL, *genders):
        first, second = (
            [run.subset([group in (ALL, gender) for gender in run.genders]) for run in runs]
            for runs in (baseline, other)
        )
        difference = np.mean([shares(run) for run in second], axis=0) - np.mean([shares(run) for run in first], axis=0)
        ua = paired_difference(second, first, "UA", matched=True)
        differences.append(ConfusionDifference(group, len(first[0]), difference, ua))
    return differences


def write_confusion_differences(
    found: Sequence[ConfusionDifference], words: Sequence[str], folder: Path, leaks: Mapping[str, LeakReport]
) -> str:
    """Write `lowresource-table2.json`; return leaks and matrices as Markdown, in percentage points."""
    parts = _format_leaks(leaks)
    parts += [
        _matrix(f"{one.group}, {one.n} clips, {_format_ua(one.UA)}", words, 100 * one.difference) for one in found
    ]
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


def _format_leaks(leaks: Mapping[str, LeakReport]) -> list[str]:
    """Format leaks and what could not be checked, one line each."""
    lines = [f"LEAK: {model}: {leak}" for model, leak in leaks.items() if leak.found]
    lines += [f"{model}: {leak.mark}" for model, leak in leaks.items() if leak.mark]
    # What the test clips lack is the same for each model.
    lines += dict.fromkeys(f"not checked: {one}" for leak in leaks.values() for one in leak.unchecked)
    return [f"{line}\n" for line in lines]


def _format_ua(ua: Mapping[str, Any]) -> str:
    interval = (
        "" if ua["low"] is None else f" [{format_points(ua['low'])}, {format_points(ua['high'])}], p {ua['p']:.3f}"
    )
    return f"UA {format_points(ua['difference'])}{interval}"


def _matrix(title: str, words: Sequence[str], cells: np.ndarray) -> str:
    rows = [
        [word, *("–" if np.isnan(cell) else with_minus_sign(f"{cell:+.0f}") for cell in row)]
        for word, row in zip(words, cells)
    ]
    return f"{title}:\n\n" + format_table(["truth \\ prediction", *words], rows) + "\n"


def _nested(difference: np.ndarray) -> list[list[float | None]]:
    return [[None if np.isnan(cell) else float(cell) for cell in row] for row in difference]
