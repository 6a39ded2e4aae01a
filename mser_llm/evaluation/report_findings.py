# SPDX-License-Identifier: Apache-2.0
"""Select what the report shows first: warnings, gaps between groups, published results and the worst errors."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from mser_llm.evaluation.predictions import Predictions
from mser_llm.evaluation.protocols import find_protocol
from mser_llm.evaluation.protocols.published_table import published_table


# More gaps would push the model and its metrics off the first screen.
_FIRST_GAPS = 3
HEADINGS = {"gender": "Gender", "language": "Language"}
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


def top_gaps(results: Results, language: Callable[[str], str]) -> dict[str, Any] | None:
    """
    Select the statistically significant gaps between groups.

    Args:
        results: of an evaluation; its `gaps` are sorted, flagged ones first.
        language: maps a language code to the language's name.

    Returns:
        `shown`, the first flagged gaps; `more`, the number of further ones; `largest`, the largest gap of all. None
        for results without gaps.
    """
    if "gaps" not in results:
        return None
    found = [_named(gap, language) for gap in results["gaps"]]
    flagged = [gap for gap in found if gap["flagged"]]
    return {
        "shown": flagged[:_FIRST_GAPS],
        "more": len(flagged) - len(flagged[:_FIRST_GAPS]),
        "largest": max(found, key=lambda gap: gap["gap"], default=None),
    }


def _named(gap: Mapping[str, Any], language: Callable[[str], str]) -> dict[str, Any]:
    def name(group: str) -> str:
        return language(group) if gap["by"] == "language" else group

    bars = sorted(gap["groups"].items(), key=lambda item: item[1])
    return {
        **gap,
        "where": {"corpus": f"on {gap['name']}", "language": f"in {language(gap['name'] or '')}"}.get(
            gap["scope"], "over all corpora"
        ),
        "best_name": name(gap["best"]),
        "worst_name": name(gap["worst"]),
        "bars": [(name(group), value) for group, value in bars],
    }


def group_tables(columns: Results, language: Callable[[str], str]) -> list[tuple[str, list[tuple[str, Any]]]]:
    """
    Collect the metrics of each gender and language.

    Args:
        columns: maps each corpus to its metrics, which contain `groups`.
        language: maps a language code to the language's name.

    Returns:
        `(heading, [(name of the group, its metrics), …])` for each grouping of each corpus.
    """
    tables = []
    for corpus, metrics in columns.items():
        for by, heading in HEADINGS.items():
            found = (metrics.get("groups") or {}).get(by)
            if found:
                name = language if by == "language" else str
                tables.append((f"{heading}, {corpus}", [(name(key), row) for key, row in found["groups"].items()]))
    return tables


def speaker_ranges(columns: Results) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the worst and the best speaker of each corpus that has several."""
    for corpus, metrics in columns.items():
        if "speaker" in (metrics.get("groups") or {}):
            yield corpus, metrics["groups"]["speaker"]


def published_comparison(results: Results, metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    """
    Return the published results of the protocol that was used, with one's own below.

    Args:
        results: of an evaluation.
        metrics: its headline.

    Returns:
        `title`, `source` and `notes` of the protocol, and `headers` and `rows` as in `published_table`. None without a
        protocol.
    """
    if "protocol" not in results:
        return None
    protocol = results["protocol"]
    headers, rows = published_table(find_protocol(protocol["name"]), metrics)
    return {**{name: protocol[name] for name in ("title", "source", "notes")}, "headers": headers, "rows": rows}


def worst_errors(predictions: Predictions, count: int = 8, of_a_pair: int = 2) -> list[int]:
    """
    Find the wrong predictions with the highest probability.

    Args:
        predictions: of one system.
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
