# SPDX-License-Identifier: Apache-2.0
"""Select what the report shows first: warnings, gaps between groups and the worst errors."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mser_llm.data.languages import language_name
from mser_llm.evaluation.predictions import Predictions


# More gaps would push the model and its metrics off the first screen.
_FIRST_GAPS = 3
Results = Mapping[str, Any]


def leak_warnings(results: Results) -> list[str]:
    """Format warnings about training data that overlaps with the test, with or without emotion labels."""
    leak = results.get("leak") or {}
    marks = [f"{leak['mark'][0].upper()}{leak['mark'][1:]}."] if leak.get("mark") else []
    if not leak.get("found"):
        return marks
    names = [
        *(f"the corpus {name}" for name in leak["corpora"]),
        *(f"the language {name}" for name in leak["languages"]),
        *([f"{len(leak['speakers'])} of the speakers"] if leak["speakers"] else []),
        *([f"{len(leak['recordings'])} of the recordings"] if leak["recordings"] else []),
    ]
    return [
        f"The model was trained on parts of this test: {', '.join(names)} ({leak['clips']} of {leak['tested']} "
        "clips). These results do not show how it performs on unseen speech.",
        *marks,
    ]


def top_gaps(results: Results) -> dict[str, Any] | None:
    """
    Select the statistically significant gaps between groups, which are the first of the results.

    Returns:
        `shown`, the first flagged gaps; `more`, the number of further ones; `largest`, the largest gap of all. None
        for results without gaps.
    """
    if "gaps" not in results:
        return None
    found = [_named(gap) for gap in results["gaps"]]
    flagged = [gap for gap in found if gap["flagged"]]
    return {
        "shown": flagged[:_FIRST_GAPS],
        "more": len(flagged[_FIRST_GAPS:]),
        "largest": max(found, key=lambda gap: gap["gap"], default=None),
    }


def _named(gap: Mapping[str, Any]) -> dict[str, Any]:
    name: Callable[[str], str] = language_name if gap["by"] == "language" else str
    where = {"corpus": f"on {gap['name']}", "language": f"in {language_name(gap['name'] or '')}"}
    bars = sorted(gap["groups"].items(), key=lambda item: item[1])
    return {
        **gap,
        "where": where.get(gap["scope"], "over all corpora"),
        "best_name": name(gap["best"]),
        "worst_name": name(gap["worst"]),
        "bars": [(name(group), value) for group, value in bars],
    }


def worst_errors(predictions: Predictions, count: int = 8, of_a_pair: int = 2) -> list[int]:
    """
    Find the wrong predictions with the highest probability.

    Args:
        count: the maximum number of errors.
        of_a_pair: the maximum per pair of true and predicted label, so that the most frequent confusion does not fill
            the list.

    Returns:
        their positions, the highest probability first; empty for a system without probabilities.
    """
    if predictions.scores is None:
        return []
    column = {word: index for index, word in enumerate(predictions.labels)}
    both = zip(predictions.truths, predictions.predicted, strict=True)
    wrong = [i for i, (truth, label) in enumerate(both) if truth != label and label in column]
    confidence = np.array([predictions.scores[i, column[str(predictions.predicted[i])]] for i in wrong])
    pairs: Counter[tuple[str, str | None]] = Counter()
    chosen: list[int] = []
    for position in np.argsort(-confidence, kind="stable"):
        index = wrong[position]
        pair = predictions.truths[index], predictions.predicted[index]
        pairs[pair] += 1
        if pairs[pair] <= of_a_pair:
            chosen.append(index)
        if len(chosen) == count:
            break
    return chosen
