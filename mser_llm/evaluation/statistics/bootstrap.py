# SPDX-License-Identifier: Apache-2.0
"""Intervals of figures, differences of systems and gaps of groups, by the bootstrap over speakers."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from mser_llm.evaluation.metrics.emotion_metrics import METRICS, metrics_from_counts
from mser_llm.evaluation.predictions import Predictions
from mser_llm.evaluation.statistics.resampling import DIFFERENCE, interval, p_value, resampled, speaker_counts


RESAMPLES = 5000
# What groups may be made by, and the field of `Predictions` that says it.
GROUPINGS = {"gender": "genders", "language": "languages", "corpus": "corpora"}


def intervals(
    predictions: Predictions,
    metrics: Sequence[str] = METRICS,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, tuple[float, float]] | None:
    """
    The interval of each figure, for other speakers of the same kind.

    Speakers are drawn with replacement, a clip without a speaker being one of its own; a resample that lacks a label
    averages over the labels it has; the ends are percentiles, widened for few speakers as in `interval`.

    Args:
        predictions: of one system.
        metrics: of `METRICS`.
        confidence: how often such an interval holds the figure of all speakers.
        resamples: how many are drawn.
        seed: equal seeds give equal intervals.

    Returns:
        `{metric: (low, high)}`; None for fewer than two speakers, from whom nothing can be told of others.
    """
    counts = speaker_counts(predictions)
    if len(counts) < 2:
        return None
    draws = resampled([counts], metrics, resamples, seed)
    return {metric: interval(values[:, 0], len(counts), confidence) for metric, values in draws.items()}


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
    How much better the first system is than the second on the clips that both have: the paired bootstrap.

    Both are measured on the same drawn speakers, so that what makes a speaker hard does not count against either.

    Args:
        first, second: of one system each; several for the seeds of one system, which are then drawn too.
        metric: of `METRICS`.
        matched: the runs of both come in pairs, each of one seed, and a pair is drawn as one.
        confidence, resamples, seed: as in `intervals`.

    Returns:
        `difference` of the (mean) figures, first minus second, its interval `low` and `high`, the two-sided `p` of
        no difference, `clusters` (speakers) and `n` clips; `low`, `high` and `p` None for fewer than two speakers.

    Raises:
        PredictionsError: the systems share no clip, or cannot be compared (see `Predictions.align`).
        ValueError: matched runs that are not as many of both.
    """
    firsts, seconds = ([one] if isinstance(one, Predictions) else list(one) for one in (first, second))
    if matched and len(firsts) != len(seconds):
        raise ValueError(f"{len(firsts)} and {len(seconds)} runs cannot be matched; give one of both for each seed")
    systems = Predictions.shared([*firsts, *seconds])
    tables = [speaker_counts(system, systems[0].clusters()) for system in systems]
    values = np.array([metrics_from_counts(table.sum(axis=0))[metric] for table in tables])
    half, speakers = len(firsts), len(tables[0])
    made: dict[str, Any] = {
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
        made["low"], made["high"] = interval(differences, speakers, confidence, DIFFERENCE)
        made["p"] = p_value(differences, speakers)
    return made


def summarize_seeds(
    runs: Sequence[Predictions],
    metrics: Sequence[str] = METRICS,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """
    Several runs of one system that differ in their seed.

    Args:
        runs: one for each seed, over the same clips.
        metrics, confidence, resamples, seed: as in `intervals`.

    Returns:
        by metric the `values` of the runs, their `mean`, their standard deviation `std` (n - 1; None for one run), and
        `interval`, of the mean, for other speakers and other seeds: both are drawn. It is None for fewer than two
        speakers.

    Raises:
        PredictionsError: no run, or runs that cannot be compared.
    """
    runs = Predictions.shared(runs)
    tables = [speaker_counts(run, runs[0].clusters()) for run in runs]
    draws = resampled(tables, metrics, resamples, seed) if len(tables[0]) > 1 else None
    made: dict[str, dict[str, Any]] = {}
    for metric, figures in seed_statistics(runs, metrics).items():
        made[metric] = figures | {"interval": None}
        if draws is not None:
            means = _resample_seeds(draws[metric], np.random.default_rng([seed, 1]))
            made[metric]["interval"] = interval(means, len(tables[0]), confidence)
    return made


def seed_statistics(runs: Sequence[Predictions], metrics: Sequence[str] = METRICS) -> dict[str, dict[str, Any]]:
    """Compute by metric the `values`, `mean` and `std` of the runs of one system, as in `summarize_seeds`."""
    figures = [metrics_from_counts(speaker_counts(run).sum(axis=0)) for run in runs]
    made: dict[str, dict[str, Any]] = {}
    for metric in metrics:
        values = [float(one[metric]) for one in figures]
        std = float(np.std(values, ddof=1)) if len(values) > 1 else None
        made[metric] = {"mean": float(np.mean(values)), "std": std, "values": values}
    return made


def _resample_seeds(draws: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Figures `(resamples, num_seeds)` to the means `(resamples,)` of as many seeds, drawn with replacement."""
    means, seeds = draws.mean(axis=1), draws.shape[1]
    if seeds == 1:
        return means
    chosen = np.take_along_axis(draws, rng.integers(seeds, size=draws.shape), axis=1).mean(axis=1)
    # Drawing from so few seeds shows only (seeds - 1) / seeds of the variance that they have.
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
    How far the group with the best figure is ahead of the one with the worst.

    Groups are compared over the labels that all of them have: a mean over four emotions against one over two would be
    a gap of the data. Groups of one speaker, who cannot stand for others, are left aside where two larger ones
    remain. The interval is the gap and a multiple of its bootstrap standard error, by Student's t with the degrees of
    freedom of Welch; among more than two groups it is as wide as the choice of the two extremes asks (Bonferroni).

    Args:
        predictions: of one system.
        by: one of `GROUPINGS`.
        metric, confidence, resamples, seed: as in `paired_difference`.

    Returns:
        `by`, `metric`, `gap`, its interval `low` and `high`, the two-sided `p` of no gap, `best` and `worst` group,
        the figure of each compared group in `groups`, their clips in `n` and speakers in `clusters`, the `labels`
        that were compared, and `flagged`, whether interval and p exclude that there is none. `low`, `high` and `p` are
        None where there are not two groups of two speakers. None where fewer than two groups are known or they have no
        label in common.
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
    tables = [_of_group(known, clusters, members == name) for name in compared]
    values = {
        name: float(metrics_from_counts(table.sum(axis=0))[metric])
        for name, table in zip(compared, tables, strict=True)
    }
    worst, *_, best = sorted(compared, key=values.__getitem__)
    sizes = {name: int((table.sum(axis=(1, 2)) > 0).sum()) for name, table in zip(compared, tables, strict=True)}
    made: dict[str, Any] = {
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
        made |= _gap_interval(made["gap"], draws, [sizes[best], sizes[worst]], pairs, confidence)
        made["flagged"] = made["low"] > 0 and made["p"] < 1 - confidence
    return made


def _of_group(predictions: Predictions, clusters: np.ndarray, members: np.ndarray) -> np.ndarray:
    """The answers of each speaker of all, counted over the clips of one group."""
    counts = np.zeros((clusters.max() + 1, len(predictions.labels), len(predictions.labels) + 1))
    own = speaker_counts(predictions.subset(members), clusters[members])
    counts[: len(own)] = own
    return counts


def _gap_interval(
    gap: float, draws: np.ndarray, sizes: Sequence[int], pairs: int, confidence: float
) -> dict[str, float]:
    """`low`, `high` and `p` of a gap from resampled figures `(resamples, 2)` of two groups of so many speakers."""
    # A resample may hold no speaker of a small group.
    draws = draws[~np.isnan(draws).any(axis=1)]
    variances = draws.var(axis=0) / (1 - 1 / np.array(sizes))
    # Speakers who are in both groups move both figures at once.
    variance = variances.sum() - 2 * np.cov(draws.T)[0, 1]
    if variance <= 0:
        # Nobody differs from the others of a group, which of so few may be chance: as many divisions of them into
        # two such groups are as likely.
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
