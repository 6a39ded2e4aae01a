# SPDX-License-Identifier: Apache-2.0
"""Trivial baselines: uniform guessing and the majority class."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mser_llm.evaluation.labeled_clips import LabeledClips
from mser_llm.evaluation.metrics.emotion_metrics import METRICS, metrics_from_counts
from mser_llm.evaluation.predictions import Predictions


def chance_level(clips: LabeledClips, labels: Sequence[str], draws: int = 10000, seed: int = 0) -> dict[str, Any]:
    """Compute the metrics of uniform guessing.

    Args:
        clips: of the test.
        labels: the candidate labels.
        draws: number of simulated guesses per clip.
        seed: of the guesses.

    Returns:
        the expected value of each of `METRICS`, `n`, and `intervals`, which contain 95 % of guessing systems. `UA` and
        `WA` are exactly 1 / `len(labels)`; WF1, macro-F1 and precision are means of the draws.
    """
    support, size = Counter(clips.truths), len(labels)
    random = np.random.default_rng(seed)
    rows = [random.multinomial(support[label], [1 / size] * size, size=draws) for label in labels]
    counts = np.pad(np.stack(rows, axis=1), ((0, 0), (0, 0), (0, 1)))  # nothing is unparsed
    drawn = {name: np.asarray(of) for name, of in metrics_from_counts(counts).items() if name in METRICS}
    expected = {name: float(of.mean()) for name, of in drawn.items()} | {"UA": 1 / size, "WA": 1 / size}
    intervals = {name: [float(bound) for bound in np.percentile(of, [2.5, 97.5])] for name, of in drawn.items()}
    return {**expected, "n": len(clips), "intervals": intervals}


def majority_class(train_truths: Sequence[str], test: LabeledClips, labels: Sequence[str]) -> Predictions:
    """Predict the most frequent training emotion for every test clip; ties go to the first of `labels`."""
    counts: Mapping[str, int] = Counter(train_truths)
    word = max(labels, key=lambda label: counts[label])
    certain = np.tile([float(label == word) for label in labels], (len(test), 1))
    return test.to_predictions(labels, [word] * len(test), certain)
