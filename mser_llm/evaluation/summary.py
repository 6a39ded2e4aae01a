# SPDX-License-Identifier: Apache-2.0
"""Summarize the predictions of a list of clips, and collect the gaps between groups."""

from collections.abc import Mapping
from typing import Any

from mser_llm.evaluation.predictions import Predictions
from mser_llm.evaluation.statistics.bootstrap import intervals
from mser_llm.evaluation.statistics.calibration import ece, reliability
from mser_llm.evaluation.statistics.groups import GAPS, breakdowns, sorted_gaps


def summary(predictions: Predictions) -> dict[str, Any]:
    """
    Compute the metrics of a list of clips and their uncertainty.

    Args:
        predictions: of one system, at least one clip.

    Returns:
        JSON-ready: the metrics of `emotion_metrics`; `chance`, the UA of guessing uniformly (1 / number of labels);
        `intervals`, the 95 % interval of each metric as `[low, high]`, None for fewer than two speakers; `clusters`,
        the number of speakers, each of the `clips_without_speaker` counting as one; `groups` as in `breakdowns`;
        `calibration` with `ece` and the `bins` of `reliability`, None for a system without probabilities.
    """
    bins = reliability(predictions)
    return {
        **predictions.metrics(),
        "chance": 1 / len(predictions.labels),
        "intervals": intervals(predictions),
        "clusters": int(predictions.clusters().max()) + 1,
        "clips_without_speaker": sum(speaker is None for speaker in predictions.speakers),
        "groups": breakdowns(predictions),
        "calibration": None if bins is None else {"ece": ece(predictions), "bins": bins},
    }


def gaps(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """
    Collect the gaps between genders and languages within each corpus, each language and all clips.

    Args:
        results: `corpora` and, if present, `languages` and `pooled`, each as in `summary`.

    Returns:
        gaps in the order of `sorted_gaps`, each with its `scope` (`corpus`, `language` or `all`) and the `name` of the
        corpus or language (None for `all`).
    """
    scopes = [("corpus", name, part) for name, part in results["corpora"].items()]
    complete = {(tuple(part["languages"]), part["n"]) for part in results["corpora"].values()}
    for language, part in results.get("languages", {}).items():
        # A language that is one corpus is already included.
        if ((language,), part["n"]) not in complete:
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
