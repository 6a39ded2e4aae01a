# SPDX-License-Identifier: Apache-2.0
"""Metrics of how well embeddings separate emotions across languages, for Figure 4."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import pairwise_distances, silhouette_samples

from mser_llm.evaluation.statistics.bootstrap import RESAMPLES
from mser_llm.evaluation.statistics.resampling import interval, p_value


NEIGHBOURS = 5
# The range of the difference of two silhouettes, the widest of these metrics.
_BOUNDS = (-2.0, 2.0)
CLUSTER_METRICS = ("silhouette", "purity", "purity_chance")
Names = Sequence[str] | np.ndarray


def cluster_metrics(
    embeddings: np.ndarray, emotions: Names, languages: Names, speakers: Names
) -> dict[str, np.ndarray]:
    """
    Compute the metrics of each clip, `(num_clips,)`.

    - `silhouette` of emotions over the cosine distance (Rousseeuw 1987), from -1 to 1.
    - `purity`: the share of its `NEIGHBOURS` nearest clips that have its emotion. Only clips in other languages count;
      if all clips are in one language, those of other speakers.
    - `purity_chance`: the share of all those clips that have its emotion, the expectation without emotion.

    The last two are NaN for a clip with fewer candidates than `NEIGHBOURS`.

    Raises:
        ValueError: fewer than two emotions, or no two clips of one.
    """
    labels, language_of, speaker_of = (np.asarray(values) for values in (emotions, languages, speakers))
    if not 2 <= len(set(labels)) < len(labels):
        raise ValueError(
            f"{len(set(labels))} emotion(s) in {len(labels)} clips; pass clips of at least two emotions, and several "
            "of one"
        )
    distances = pairwise_distances(embeddings.astype(np.float64), metric="cosine")  # which the contrast trains
    group = language_of if len(set(language_of)) > 1 else speaker_of
    purity, chance = np.full(len(labels), np.nan), np.full(len(labels), np.nan)
    for clip in range(len(labels)):
        candidates = np.flatnonzero(group != group[clip])
        if len(candidates) >= NEIGHBOURS:
            nearest = candidates[np.argsort(distances[clip, candidates], kind="stable")[:NEIGHBOURS]]
            purity[clip] = (labels[nearest] == labels[clip]).mean()
            chance[clip] = (labels[candidates] == labels[clip]).mean()
    silhouette = silhouette_samples(distances, labels, metric="precomputed")
    return {"silhouette": silhouette, "purity": purity, "purity_chance": chance}


def summarize_over_speakers(runs: Sequence[np.ndarray], speakers: Names, seed: int = 0) -> dict[str, Any]:
    """
    Average a metric over clips and runs, with its interval over speakers.

    Speakers are drawn with replacement together with the values of their clips, which are not recomputed among the
    drawn clips; runs are averaged.

    Args:
        runs: `(num_clips,)` for each seed, over the same clips; NaN is ignored.
        speakers: of the clips.
        seed: of the bootstrap.

    Returns:
        `mean`, `values` (one per run), 95 % interval `low`, `high`, two-sided `p` of a mean of 0, and `clusters`, the
        number of speakers. The interval and p are None for fewer than two.
    """
    values = np.mean(runs, axis=0)
    known = np.isfinite(values)
    summary: dict[str, Any] = dict.fromkeys(("mean", "low", "high", "p"))
    summary |= {"values": [_mean(run) for run in runs], "clusters": 0}
    if not known.any():
        return summary
    number = {name: index for index, name in enumerate(dict.fromkeys(np.asarray(speakers)[known]))}
    cluster = [number[name] for name in np.asarray(speakers)[known]]
    sums, counts = np.bincount(cluster, values[known]), np.bincount(cluster)
    summary |= {"mean": float(values[known].mean()), "clusters": len(number)}
    if len(number) > 1:
        rng = np.random.default_rng(seed)
        drawn = rng.multinomial(len(number), np.full(len(number), 1 / len(number)), size=RESAMPLES)
        means = (drawn @ sums) / (drawn @ counts)
        summary["low"], summary["high"] = interval(means, len(number), 0.95, _BOUNDS)
        summary["p"] = p_value(means, len(number))
    return summary


def _mean(run: np.ndarray) -> float | None:
    return float(np.nanmean(run)) if np.isfinite(run).any() else None
