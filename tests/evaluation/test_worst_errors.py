# SPDX-License-Identifier: Apache-2.0
"""The most confident errors of different kinds."""

import numpy as np

from mser_llm.evaluation.predictions import Predictions
from mser_llm.evaluation.report_findings import worst_errors


LABELS = ("happy", "sad", "angry")


def predictions(pairs, surety):
    """Return predictions with the given probability; the other labels share the rest."""
    scores = np.array(
        [
            [p if word == prediction else (1 - p) / 2 for word in LABELS]
            for (_, prediction), p in zip(pairs, surety, strict=True)
        ]
    )
    truths, predicted = [truth for truth, _ in pairs], [prediction for _, prediction in pairs]
    return Predictions(LABELS, ["c"] * len(pairs), [str(i) for i in range(len(pairs))], truths, predicted, scores)


def test_worst_errors_are_sorted_by_probability():
    given = predictions([("sad", "happy"), ("sad", "sad"), ("angry", "sad")], [0.6, 0.99, 0.8])
    assert worst_errors(given) == [2, 0]


def test_worst_errors_limits_each_confusion():
    given = predictions([("sad", "happy")] * 5 + [("happy", "sad")], [0.9, 0.95, 0.91, 0.92, 0.93, 0.5])
    assert worst_errors(given) == [1, 4, 5]
    assert worst_errors(given, count=1) == [1]
    assert worst_errors(given, of_a_pair=4) == [1, 4, 3, 2, 5]


def test_worst_errors_needs_probabilities():
    given = predictions([("sad", "happy")], [0.9])
    assert worst_errors(Predictions(LABELS, ["c"], ["0"], given.truths, given.predicted)) == []
