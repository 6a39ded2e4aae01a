# SPDX-License-Identifier: Apache-2.0
"""Summarize predictions: metrics with intervals, by gender, language, corpus and speaker, and gaps between groups."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mser_llm.evaluation.metrics.emotion_metrics import metrics_from_counts
from mser_llm.evaluation.predictions import Predictions
from mser_llm.evaluation.statistics.bootstrap import GROUPINGS, group_gap, intervals
from mser_llm.evaluation.statistics.calibration import ece, reliability
from mser_llm.evaluation.statistics.resampling import speaker_counts
from mser_llm.evaluation.statistics.significance import add_holm


# Gaps between corpora are not reported because corpora differ in difficulty.
GAPS = ("gender", "language")
# Speakers with fewer clips are not ranked.
MIN_CLIPS_PER_SPEAKER = 10


def breakdowns(predictions: Predictions) -> dict[str, Any]:
    """
    Compute the metrics of groups of clips.

    Returns:
        `gender`, `language` and `corpus`, if there are two of it: in `groups`, by name, `n`, `clusters` (speakers),
        `UA`, `WA`, `supported_labels` and the `interval` of UA (None for fewer than two speakers); `unknown`, the
        number of clips without a known group; and for gender and language the `gap` as in `group_gap`. `speaker`, if
        two speakers have `MIN_CLIPS_PER_SPEAKER` clips: their number `n`, `worst` and `best` with `UA` and `n`, and
        the `quartiles` of UA.
    """
    result: dict[str, Any] = {}
    for by, field in GROUPINGS.items():
        names = getattr(predictions, field)
        groups = sorted({name for name in names if name is not None})
        if len(groups) < 2:
            continue
        result[by] = {
            "groups": {name: _group(predictions.subset([one == name for one in names])) for name in groups},
            "unknown": sum(name is None for name in names),
        }
        if by in GAPS:
            result[by]["gap"] = group_gap(predictions, by)
    speaker = _speakers(predictions)
    return result if speaker is None else {**result, "speaker": speaker}


def _group(predictions: Predictions) -> dict[str, Any]:
    metrics = predictions.metrics()
    bounds = intervals(predictions, ["UA"])
    return {
        **{name: metrics[name] for name in ("n", "UA", "WA", "supported_labels")},
        "clusters": int(predictions.clusters().max()) + 1,
        "interval": None if bounds is None else bounds["UA"],
    }


def _speakers(predictions: Predictions) -> dict[str, Any] | None:
    known = predictions.subset([speaker is not None for speaker in predictions.speakers])
    # One table for all speakers: a pass over the clips for each of thousands of speakers would be slow.
    counts = speaker_counts(known)
    found = zip(dict.fromkeys(known.speakers), metrics_from_counts(counts)["UA"], counts.sum(axis=(1, 2)), strict=True)
    ranked: list[dict[str, Any]] = [
        {"speaker": speaker, "UA": float(ua), "n": int(n)} for speaker, ua, n in found if n >= MIN_CLIPS_PER_SPEAKER
    ]
    if len(ranked) < 2:
        return None
    ranked.sort(key=lambda one: (one["UA"], one["speaker"]))
    quartiles = np.quantile([one["UA"] for one in ranked], [0.25, 0.5, 0.75])
    return {"n": len(ranked), "worst": ranked[0], "best": ranked[-1], "quartiles": quartiles.tolist()}


def summary(predictions: Predictions) -> dict[str, Any]:
    """
    Compute the metrics of at least one clip and their uncertainty.

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
        gaps as in `group_gap`, flagged ones first, then by size, each with its `scope` (`corpus`, `language` or
        `all`), the `name` of the corpus or language (None for `all`), and `p_holm`, p corrected for the number of gaps
        (None for a gap without p).
    """
    scopes = [("corpus", name, part) for name, part in results["corpora"].items()]
    complete = {(tuple(part["languages"]), part["n"]) for part in results["corpora"].values()}
    for language, part in results.get("languages", {}).items():
        # A language that is one corpus is already included.
        if ((language,), part["n"]) not in complete:
            scopes.append(("language", language, part))
    if "pooled" in results:
        scopes.append(("all", None, results["pooled"]))
    found = [
        {"scope": scope, "name": name, **gap, "p_holm": None}
        for scope, name, part in scopes
        for by in GAPS
        if (gap := part["groups"].get(by, {}).get("gap")) is not None
    ]
    add_holm(found)
    return sorted(found, key=lambda gap: (not gap["flagged"], -gap["gap"]))
