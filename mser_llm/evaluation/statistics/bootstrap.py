# SPDX-License-Identifier: Apache-2.0
"""Bootstrap over speakers: intervals of metrics, differences of systems and gaps between groups."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from mser_llm.evaluation.metrics.emotion_metrics import METRICS, metrics_from_counts
from mser_llm.evaluation.predictions import Predictions
from mser_llm.evaluation.statistics.resampling import DIFFERENCE, interval, p_value, resampled, speaker_counts
from mser_llm.io.errors import InputError


RESAMPLES = 5000
# Groupings and their fields of `Predictions`.
GROUPINGS = {"gender": "genders", "language": "languages", "corpus": "corpora"}


def intervals(
    predictions: Predictions,
    metrics: Sequence[str] = METRICS,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, list[float]] | None:
    """
    Compute the confidence interval of each metric for other speakers of the same kind.

    Speakers are drawn with replacement; a clip without a speaker counts as a speaker of its own. A resample that lacks
    a label averages over the labels it has. The ends are percentiles, widened for few speakers as in `interval`.

    Args:
        metrics: of `METRICS`.
        confidence: how often such an interval contains the metric of all speakers.
        seed: equal seeds give equal intervals.

    Returns:
        `{metric: [low, high]}`; None for fewer than two speakers.
    """
    counts = speaker_counts(predictions)
    if len(counts) < 2:
        return None
    draws = resampled([counts], metrics, resamples, seed)
    return {metric: [*interval(values[:, 0], len(counts), confidence)] for metric, values in draws.items()}


def paired_difference(
    first: Predictions | Sequence[Predictions],
    second: Predictions | Sequence[Predictions],
    metric: str = "UA",
    *,
    matched: bool = False,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """
    Compare two systems on the clips they share with a paired bootstrap.

    Both are evaluated on the same resampled speakers, so that the difficulty of a speaker affects both alike.

    Args:
        first, second: the predictions of each system, or several for its seeds, which are then resampled as well.
        metric: of `METRICS`.
        matched: the runs of both systems are paired by seed, and pairs are resampled.
        confidence, resamples, seed: as in `intervals`.

    Returns:
        `difference` of the (mean) metrics, first minus second, its interval `low` and `high`, the two-sided `p` of
        no difference, `clusters` (speakers) and `n` clips; `low`, `high` and `p` are None for fewer than two speakers.

    Raises:
        PredictionsError: the systems share no clip, or cannot be compared (see `Predictions.align`).
        InputError: matched runs of unequal number.
    """
    firsts, seconds = ([one] if isinstance(one, Predictions) else list(one) for one in (first, second))
    if matched and len(firsts) != len(seconds):
        raise InputError("matched", f"{len(firsts)} and {len(seconds)} runs", "pass one run of both systems per seed")
    systems = Predictions.shared([*firsts, *seconds])
    tables = [speaker_counts(system, systems[0].clusters()) for system in systems]
    values = np.array([metrics_from_counts(table.sum(axis=0))[metric] for table in tables])
    half, speakers = len(firsts), len(tables[0])
    result: dict[str, Any] = {
        "difference": float(values[:half].mean() - values[half:].mean()),
        "low": None,
        "high": None,
        "p": None,
        "clusters": speakers,
        "n": len(systems[0]),
    }
    if speakers > 1:
        draws = resampled(tables, [metric], resamples, seed)[metric]
        rng = np.random.default_rng([seed, 1])
        if matched:
            differences = _resample_seeds(draws[:, :half] - draws[:, half:], rng)
        else:
            differences = _resample_seeds(draws[:, :half], rng) - _resample_seeds(draws[:, half:], rng)
        result["low"], result["high"] = interval(differences, speakers, confidence, DIFFERENCE)
        result["p"] = p_value(differences, speakers)
    return result


def summarize_seeds(
    runs: Sequence[Predictions],
    metrics: Sequence[str] = METRICS,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """
    Summarize several runs of one system that differ in their seed.

    Args:
        runs: one per seed, on the same clips.
        metrics, confidence, resamples, seed: as in `intervals`.

    Returns:
        by metric the `values` of the runs, their `mean`, their standard deviation `std` (n - 1; None for one run), and
        the `interval` of the mean, for which both speakers and seeds are resampled (None for fewer than two speakers).

    Raises:
        PredictionsError: there is no run, or the runs cannot be compared.
    """
    runs = Predictions.shared(runs)
    tables = [speaker_counts(run, runs[0].clusters()) for run in runs]
    draws = resampled(tables, metrics, resamples, seed) if len(tables[0]) > 1 else None
    summary: dict[str, dict[str, Any]] = {}
    for metric, own in seed_statistics(runs, metrics).items():
        summary[metric] = own | {"interval": None}
        if draws is not None:
            means = _resample_seeds(draws[metric], np.random.default_rng([seed, 1]))
            summary[metric]["interval"] = interval(means, len(tables[0]), confidence)
    return summary


def seed_statistics(runs: Sequence[Predictions], metrics: Sequence[str] = METRICS) -> dict[str, dict[str, Any]]:
    """Compute by metric the `values`, `mean` and `std` of the runs of one system, as in `summarize_seeds`."""
    by_run = [metrics_from_counts(speaker_counts(run).sum(axis=0)) for run in runs]
    statistics: dict[str, dict[str, Any]] = {}
    for metric in metrics:
        values = [float(one[metric]) for one in by_run]
        std = float(np.std(values, ddof=1)) if len(values) > 1 else None
        statistics[metric] = {"mean": float(np.mean(values)), "std": std, "values": values}
    return statistics


def _resample_seeds(draws: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Average metrics `(resamples, num_seeds)` over seeds drawn with replacement, `(resamples,)`."""
    means, seeds = draws.mean(axis=1), draws.shape[1]
    if seeds == 1:
        return means
    chosen = np.take_along_axis(draws, rng.integers(seeds, size=draws.shape), axis=1).mean(axis=1)
    # Drawing from few seeds yields only (seeds - 1) / seeds of their variance.
    return means + np.sqrt(seeds / (seeds - 1)) * (chosen - means)


def group_gap(
    predictions: Predictions,
    by: str = "gender",
    metric: str = "UA",
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any] | None:
    """
    Compare the groups with the best and the worst metric.

    Only labels that occur in all groups are compared, because a mean over four emotions and one over two differ by
    the data alone. Groups of one speaker are ignored if two larger ones remain. The interval is the gap plus or minus
    a multiple of its bootstrap standard error, from Student's t with Welch's degrees of freedom; for more than two
    groups it is widened for the choice of the two extremes (Bonferroni).

    Args:
        by: one of `GROUPINGS`.
        metric, confidence, resamples, seed: as in `paired_difference`.

    Returns:
        `by`, `metric`, `gap`, its interval `low` and `high`, the two-sided `p` of no gap, the `best` and `worst`
        group, the metric of each compared group in `groups`, their clips in `n` and speakers in `clusters`, the
        compared `labels`, and `flagged`: whether interval and p exclude zero. `low`, `high` and `p` are None unless
        each group has two speakers. None if fewer than two groups are known or they share no label.
    """
    names = getattr(predictions, GROUPINGS[by])
    known = predictions.subset([name is not None for name in names])
    members = np.array(getattr(known, GROUPINGS[by]), dtype=object)
    clusters = known.clusters()
    sizes = {name: len(set(clusters[members == name])) for name in sorted(set(members))}
    large = [name for name, size in sizes.items() if size > 1]
    compared = large if len(large) > 1 else list(sizes)
    if len(compared) < 2:
        return None
    truths = np.array(known.truths, dtype=object)
    common = set.intersection(*({*truths[members == name]} for name in compared))
    known = known.subset(np.isin(members, compared) & np.isin(truths, list(common)))
    if not len(known):
        return None
    members, clusters = np.array(getattr(known, GROUPINGS[by]), dtype=object), known.clusters()
    tables = [_group_counts(known, clusters, members == name) for name in compared]
    values = {
        name: float(metrics_from_counts(table.sum(axis=0))[metric])
        for name, table in zip(compared, tables, strict=True)
    }
    worst, *_, best = sorted(compared, key=values.__getitem__)
    sizes = {name: int((table.sum(axis=(1, 2)) > 0).sum()) for name, table in zip(compared, tables, strict=True)}
    result: dict[str, Any] = {
        "by": by,
        "metric": metric,
        "gap": values[best] - values[worst],
        "low": None,
        "high": None,
        "p": None,
        "best": best,
        "worst": worst,
        "groups": values,
        "n": {name: int(table.sum()) for name, table in zip(compared, tables, strict=True)},
        "clusters": sizes,
        "labels": [word for word in known.labels if word in common],
        "flagged": False,
    }
    if min(sizes.values()) > 1:
        pair = [tables[compared.index(name)] for name in (best, worst)]
        draws = resampled(pair, [metric], resamples, seed)[metric]
        pairs = len(compared) * (len(compared) - 1) // 2
        result |= _gap_interval(result["gap"], draws, [sizes[best], sizes[worst]], pairs, confidence)
        result["flagged"] = result["low"] > 0 and result["p"] < 1 - confidence
    return result


def _group_counts(predictions: Predictions, clusters: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Count the predictions of each speaker within one group."""
    counts = np.zeros((clusters.max() + 1, len(predictions.labels), len(predictions.labels) + 1))
    own = speaker_counts(predictions.subset(members), clusters[members])
    counts[: len(own)] = own
    return counts


def _gap_interval(
    gap: float, draws: np.ndarray, sizes: Sequence[int], pairs: int, confidence: float
) -> dict[str, float]:
    """Compute `low`, `high` and `p` of a gap from resampled metrics `(resamples, 2)` of two groups of given sizes."""
    # A resample may miss all speakers of a small group.
    draws = draws[~np.isnan(draws).any(axis=1)]
    variances = draws.var(axis=0) / (1 - 1 / np.array(sizes))
    # Speakers in both groups affect both metrics.
    variance = variances.sum() - 2 * np.cov(draws.T)[0, 1]
    if variance <= 0:
        # No speaker differs from the others of a group, which may be chance for few speakers: p is that of a
        # permutation test.
        divisions = math.comb(sum(sizes), sizes[0])
        return {"low": gap, "high": gap, "p": min(1.0, 2 * pairs / divisions) if gap > 0 else 1.0}
    freedom = variances.sum() ** 2 / (variances**2 / (np.array(sizes) - 1)).sum()
    error = np.sqrt(variance)
    reach = stats.t.ppf(1 - (1 - confidence) / 2 / pairs, freedom) * error
    return {
        "low": float(gap - reach),
        "high": float(min(gap + reach, 1.0)),
        "p": float(min(1.0, 2 * pairs * stats.t.sf(gap / error, freedom))),
    }
