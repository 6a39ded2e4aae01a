# SPDX-License-Identifier: Apache-2.0
"""Measure calibration: whether 80 % of the predictions with probability 0.8 are correct."""

from typing import Any

import numpy as np

from mser_llm.evaluation.predictions import Predictions
from mser_llm.io.errors import InputError


BINS = 15


def reliability(predictions: Predictions, bins: int = BINS) -> list[dict[str, Any]] | None:
    """
    Group predictions by their probability, in bins of equal width.

    Returns:
        for each non-empty bin its ends `low` and `high`, the number `n` of predictions, their mean probability
        `confidence` and their `accuracy`; None for a system without probabilities.

    Raises:
        InputError: fewer than one bin.
    """
    if bins < 1:
        raise InputError("bins", f"{bins} is below 1", "pass a positive number")
    if predictions.scores is None:
        return None
    confidence = predictions.scores.max(axis=1)
    right = np.array(predictions.predicted) == np.array(predictions.truths)
    edges = np.linspace(0, 1, bins + 1)
    # (low, high], so that a probability of 1 is in the last bin.
    member = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    return [
        {
            "low": float(edges[index]),
            "high": float(edges[index + 1]),
            "n": int((member == index).sum()),
            "confidence": float(confidence[member == index].mean()),
            "accuracy": float(right[member == index].mean()),
        }
        for index in np.unique(member)
    ]


def ece(predictions: Predictions, bins: int = BINS) -> float | None:
    """
    Compute the expected calibration error: the mean distance of probability and accuracy, weighted by bin size.

    Guo et al. 2017 (arXiv:1706.04599, Eq. 3), with their 15 bins of equal width.

    Returns:
        a fraction in [0, 1]; None for a system without probabilities.
    """
    table = reliability(predictions, bins)
    if table is None:
        return None
    return float(sum(row["n"] * abs(row["confidence"] - row["accuracy"]) for row in table) / len(predictions))
