# SPDX-License-Identifier: Apache-2.0
"""Resample speakers with replacement, and derive intervals and p-values from the resampled metrics.

Speakers are resampled, not clips, because clips of one speaker resemble each other (Field and Welsh, 2007).
"""

from collections.abc import Sequence

import numpy as np
from scipy import stats

from mser_llm.evaluation.metrics.emotion_metrics import metrics_from_counts
from mser_llm.evaluation.predictions import Predictions
from mser_llm.io.errors import InputError


# Speakers drawn per block, which limits memory.
_DRAWN_AT_ONCE = 4_000_000
_MIN_RESAMPLES = 100
# Below this number of resamples in the tail, p follows from the mean and standard deviation instead.
_COUNTED = 3
MIN_SPEAKERS_FOR_PERCENTILES = 6
METRIC, DIFFERENCE = (0.0, 1.0), (-1.0, 1.0)
"""Bounds of a metric and of a difference of two."""
# Resampled values that differ by less are equal up to rounding.
_EQUAL = 1e-9


def check_resamples(resamples: int) -> None:
    """Check the number of resamples before a long run.

    Raises:
        InputError: fewer than 100.
    """
    if resamples < _MIN_RESAMPLES:
        raise InputError("resamples", f"{resamples} are too few", f"pass at least {_MIN_RESAMPLES}")


def speaker_counts(predictions: Predictions, clusters: np.ndarray | None = None) -> np.ndarray:
    """Count the predictions of each speaker, by default of `predictions.clusters()`, `(num_clips,)`.

    Returns:
        `(num_speakers, num_labels, num_labels + 1)`: rows truth, columns prediction, the last column unparsed.
    """
    labels = predictions.labels
    clusters = predictions.clusters() if clusters is None else clusters
    column = {word: index for index, word in enumerate(labels)}
    counts = np.zeros((clusters.max(initial=-1) + 1, len(labels), len(labels) + 1))
    truths = np.array([column[truth] for truth in predictions.truths], dtype=np.int64)
    answers = np.array([column.get(str(answer), len(labels)) for answer in predictions.predicted], dtype=np.int64)
    np.add.at(counts, (clusters, truths, answers), 1)
    return counts


def resampled(
    counts: Sequence[np.ndarray], metrics: Sequence[str], resamples: int, seed: int
) -> dict[str, np.ndarray]:
    """Compute metrics of resampled speakers, in several tables at once.

    Args:
        counts: tables from `speaker_counts`, with the same speakers in the same order.
        metrics: names of `metrics_from_counts`.
        seed: equal seeds draw equal speakers.

    Returns:
        by metric `(resamples, len(counts))`, NaN if no clip of a table was drawn.
    """
    speakers = len(counts[0])
    shape = (-1, *counts[0].shape[1:])
    flat = [table.reshape(speakers, -1) for table in counts]
    rng = np.random.default_rng(seed)
    parts: dict[str, list[np.ndarray]] = {metric: [] for metric in metrics}
    for start in range(0, resamples, step := max(1, _DRAWN_AT_ONCE // speakers)):
        size = min(step, resamples - start)
        drawn = rng.integers(speakers, size=(size, speakers)) + speakers * np.arange(size)[:, None]
        times = np.bincount(drawn.ravel(), minlength=size * speakers).reshape(size, speakers).astype(np.float64)
        drawn_metrics = [metrics_from_counts((times @ table).reshape(shape)) for table in flat]
        for metric in metrics:
            parts[metric].append(np.stack([one[metric] for one in drawn_metrics], axis=1))
    return {metric: np.concatenate(part) for metric, part in parts.items()}


def interval(
    values: np.ndarray, speakers: int, confidence: float, bounds: tuple[float, float] = METRIC
) -> tuple[float, float]:
    """
    Compute the percentile interval of resampled metrics `(resamples,)`, widened for a small number of speakers.

    Plain percentiles are too narrow for few speakers. They are widened as Student's t and the variance's n - 1 widen
    the interval of a mean: the expanded percentile interval of Hesterberg (2015, "What Teachers Should Know About the
    Bootstrap", arXiv:1411.5279). For many speakers the result is the same. Below `MIN_SPEAKERS_FOR_PERCENTILES` there
    are too few distinct resamples for percentiles; the result is then Student's interval around their mean.

    Args:
        values: of the resamples.
        speakers: the number of speakers, at least two.
        confidence: how often such an interval contains the metric of all speakers.
        bounds: the range of the metric.
    """
    quantile, widening = stats.t.ppf((1 + confidence) / 2, speakers - 1), np.sqrt(speakers / (speakers - 1))
    if speakers < MIN_SPEAKERS_FOR_PERCENTILES:
        centre, reach = values.mean(), quantile * widening * values.std()
        low, high = np.clip([centre - reach, centre + reach], *bounds)
    else:
        tail = stats.norm.cdf(-quantile * widening)
        low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def p_value(differences: np.ndarray, speakers: int) -> float:
    """
    Compute the two-sided p of no difference: 1 - the confidence at which `interval` of the differences touches 0.

    If all resamples are equal and not 0, it is the smallest p of a sign test with that many speakers.
    """
    beyond = min((differences <= 0).sum(), (differences >= 0).sum())
    if 2 * beyond >= len(differences):
        return 1.0
    spread = differences.std()
    if spread < _EQUAL:
        return 2.0 ** (1 - speakers)
    if beyond >= _COUNTED and speakers >= MIN_SPEAKERS_FOR_PERCENTILES:
        distance = -stats.norm.ppf(beyond / len(differences))
    else:
        distance = np.abs(differences.mean()) / spread
    return float(2 * stats.t.sf(distance / np.sqrt(speakers / (speakers - 1)), speakers - 1))
