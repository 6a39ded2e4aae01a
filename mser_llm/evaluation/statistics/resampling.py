# SPDX-License-Identifier: Apache-2.0
"""Speakers drawn with replacement, and the figures of what was drawn: the engine of every interval here.

Clips of one speaker resemble each other, so the speaker is what is drawn and not the clip (Field and Welsh, 2007).
"""

from collections.abc import Sequence

import numpy as np
from scipy import stats

from mser_llm.evaluation.metrics.emotion_metrics import metrics_from_counts
from mser_llm.evaluation.predictions import Predictions


# Drawn speakers held at a time.
_DRAWN_AT_ONCE = 4_000_000
# An interval of fewer says nothing of its ends.
_LEAST = 100
# A tail of fewer resamples is not counted but taken from their mean and standard deviation.
_COUNTED = 3
MIN_SPEAKERS_FOR_PERCENTILES = 6
FIGURE, DIFFERENCE = (0.0, 1.0), (-1.0, 1.0)
"""Between which a figure, and a difference of two, can lie."""
# Draws that differ by rounding alone.
_EQUAL = 1e-9


def check_resamples(resamples: int) -> None:
    """Refuses, before anything is measured, fewer resamples than an interval needs.

    Raises:
        ValueError: fewer than 100.
    """
    if resamples < _LEAST:
        raise ValueError(f"resamples is {resamples}; give at least {_LEAST}")


def speaker_counts(predictions: Predictions, clusters: np.ndarray | None = None) -> np.ndarray:
    """The answers of each speaker, counted.

    Args:
        predictions: of one system.
        clusters: the speaker of each clip as a number, `(num_clips,)`; by default those of the predictions.

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
    """The figures of resamples of the same speakers, in several tables of them at once.

    Args:
        counts: tables as `speaker_counts` gives them, with the same speakers in the same order.
        metrics: names of `metrics_from_counts`.
        resamples: how many.
        seed: equal seeds draw equal speakers.

    Returns:
        by metric `(resamples, len(counts))`, NaN where no clip of a table was drawn.
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
        # A resample that lacks a label averages over the labels that it has, as the figures do.
        figures = [metrics_from_counts((times @ table).reshape(shape)) for table in flat]
        for metric in metrics:
            parts[metric].append(np.stack([one[metric] for one in figures], axis=1))
    return {metric: np.concatenate(part) for metric, part in parts.items()}


def interval(
    values: np.ndarray, speakers: int, confidence: float, bounds: tuple[float, float] = FIGURE
) -> tuple[float, float]:
    """
    The percentile interval of resampled figures `(resamples,)`, widened for a small number of speakers.

    The plain percentiles are too narrow for few speakers. They are moved outwards as far as Student's t and the
    variance's n - 1 do it for a mean: the expanded percentile interval of Hesterberg (2015, "What Teachers Should Know
    About the Bootstrap", arXiv:1411.5279). With many speakers nothing changes. Below `MIN_SPEAKERS_FOR_PERCENTILES`
    speakers there are too few different draws for percentiles, however far outwards; it is then Student's interval
    around the mean of the draws.

    Args:
        values: of the resamples.
        speakers: how many were drawn from, at least two.
        confidence: how often such an interval is to hold the figure of all speakers.
        bounds: between which the figure lies.
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
    The two-sided p of no difference: 1 - the confidence at which `interval` of the differences would touch 0.

    Where all draws are equal and not 0, it is the least that a test of signs gives for so many speakers.
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
