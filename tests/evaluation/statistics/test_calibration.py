# SPDX-License-Identifier: Apache-2.0
"""Compare calibration with scikit-learn's curve, a loop, and systems of known calibration."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from mser_llm.evaluation.predictions import Predictions
from mser_llm.evaluation.statistics.calibration import ece, reliability


WORDS = ("happy", "sad", "angry")


def system(scores, truths) -> Predictions:
    scores = np.asarray(scores, dtype=float)
    predicted = [WORDS[index] for index in scores.argmax(axis=1)]
    ids = [str(number) for number in range(len(scores))]
    return Predictions(WORDS, ["x"] * len(ids), ids, list(truths), predicted, scores)


def random_system(size=3000, sharpen=1.0) -> Predictions:
    """Draw truths from the probabilities of a system, and sharpen these afterwards."""
    rng = np.random.default_rng(0)
    honest = rng.dirichlet([1, 1, 1], size=size)
    truths = [WORDS[rng.choice(3, p=row)] for row in honest]
    sharp = honest**sharpen
    return system(sharp / sharp.sum(axis=1, keepdims=True), truths)


@pytest.mark.parametrize("bins", [1, 7, 15])
def test_reliability_matches_scikit_learn(bins):
    one = random_system(sharpen=2.0)
    right = np.array(one.predicted) == np.array(one.truths)
    confidence = one.scores.max(axis=1)
    accuracy, mean = calibration_curve(right, confidence, n_bins=bins)
    table = reliability(one, bins)
    assert [row["accuracy"] for row in table] == pytest.approx(list(accuracy))
    assert [row["confidence"] for row in table] == pytest.approx(list(mean))
    assert sum(row["n"] for row in table) == len(one)
    error = 0.0
    for low in np.arange(bins) / bins:
        inside = (confidence > low) & (confidence <= low + 1 / bins)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert ece(one, bins) == pytest.approx(error)


def test_ece_separates_calibrated_from_sharpened():
    assert ece(random_system()) < 0.03
    assert ece(random_system(sharpen=4.0)) > 0.15


def test_reliability_of_certain_predictions():
    one = system([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], ["happy", "sad", "sad", "angry"])
    assert reliability(one, 10) == [{"low": 0.9, "high": 1.0, "n": 4, "confidence": 1.0, "accuracy": 0.75}]
    assert ece(one, 10) == 0.25
    none = replace(one, scores=None)
    assert ece(none) is reliability(none) is None
    with pytest.raises(ValueError, match="bins: 0"):
        ece(one, 0)
