# SPDX-License-Identifier: Apache-2.0
"""What `results.json` says of one list of clips, and the gaps between groups that are to be read first."""

from collections.abc import Mapping
from typing import Any

from mser_llm.evaluation.predictions import Predictions
from mser_llm.evaluation.statistics.bootstrap import intervals
from mser_llm.evaluation.statistics.calibration import ece, reliability
from mser_llm.evaluation.statistics.groups import GAPS, breakdowns, sorted_gaps


def summary(predictions: Predictions) -> dict[str, Any]:
    """
    The figures of clips, and how far they can be trusted.

    Args:
        predictions: of one system, at least one clip.

    Returns:
        JSON-ready: the figures of `emotion_metrics`; `chance`, the UA of guessing evenly among the words: each recall
        is then 1 / words, whichever of them occur; `intervals`, of 95 % by figure as `[low, high]`, None for fewer
        than two speakers; `clusters`, the number of speakers on which they rest, among them each of the
        `clips_without_speaker`; `groups` as `breakdowns` gives them; `calibration` with `ece` and the `bins` of
        `reliability`, None for a system without probabilities.
    """
    figures = predictions.metrics()
    bounds = intervals(predictions)
    bins = reliability(predictions)
    return {
        **figures,
        "chance": 1 / len(predictions.labels),
        "intervals": None if bounds is None else {name: list(ends) for name, ends in bounds.items()},
        "clusters": int(predictions.clusters().max()) + 1,
        "clips_without_speaker": sum(speaker is None for speaker in predictions.speakers),
        "groups": breakdowns(predictions),
        "calibration": None if bins is None else {"ece": ece(predictions), "bins": bins},
    }


def gaps(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """
    The gaps between genders and between languages of every corpus, of every language and of all clips.

    Args:
        results: with `corpora` and, where there are, `languages` and `pooled`, each as `summary` gives it.

    Returns:
        as `sorted_gaps` orders them, each with the `scope` in which it was found (`corpus`, `language` or `all`) and
        its `name` (None for `all`).
    """
    scopes = [("corpus", name, part) for name, part in results["corpora"].items()]
    whole = {(tuple(part["languages"]), part["n"]) for part in results["corpora"].values()}
    for language, part in results.get("languages", {}).items():
        # A language that is one corpus was there already.
        if ((language,), part["n"]) not in whole:
            scopes.append(("language", language, part))
    if "pooled" in results:
        scopes.append(("all", None, results["pooled"]))
    return sorted_gaps(
        [
            {"scope": scope, "name": name, **gap}
            for scope, name, part in scopes
            for by in GAPS
            if (gap := part["groups"].get(by, {}).get("gap")) is not None
        ]
    )
