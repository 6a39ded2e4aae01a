# SPDX-License-Identifier: Apache-2.0
"""Calibration: of the answers given with a probability of 0.8, are eight in ten right?"""

from typing import Any

import numpy as np

from mser_llm.evaluation.predictions import Predictions


BINS = 15


def reliability(predictions: Predictions, bins: int = BINS) -> list[dict[str, Any]] | None:
    """
    The answers by their probability, in bins of equal width.

    Returns:
        for each bin that is not empty its ends `low` and `high`, `n` answers, their mean probability `confidence`, and
        `accuracy`, the fraction of them that is right; None for a system that gives no probabilities.

    Raises:
        ValueError: fewer than one bin.
    """
    if bins < 1:
        raise ValueError(f"bins is {bins}; it must be at least 1")
    if predictions.scores is None:
        return None
    confidence = predictions.scores.max(axis=1)
    pairs = zip(predictions.predicted, predictions.truths, strict=True)
    right = np.array([answer == truth for answer, truth in pairs], dtype=np.float64)
    edges = np.linspace(0, 1, bins + 1)
    # (low, high], so that an answer that is certain lies in the last.
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
    The expected calibration error: the mean distance of probability and accuracy, weighted by the answers of each bin.

    Guo et al. 2017 (arXiv:1706.04599, Eq. 3), with their 15 bins of equal width.

    Returns:
        a fraction in [0, 1]; None for a system that gives no probabilities.
    """
    table = reliability(predictions, bins)
    if table is None:
        return None
    return float(sum(row["n"] * abs(row["confidence"] - row["accuracy"]) for row in table) / len(predictions))
