# SPDX-License-Identifier: Apache-2.0
"""The errors that a reader should hear: wrong answers given with the most conviction."""

from collections import Counter

import numpy as np

from mser_llm.evaluation.predictions import Predictions


def worst_errors(predictions: Predictions, count: int = 8, of_a_pair: int = 2) -> list[int]:
    """
    The wrong answers with the highest probability.

    Args:
        predictions: of one system.
        count: at most so many.
        of_a_pair: at most so many in which the same emotion is taken for the same other one, so that the commonest
            confusion leaves room for others.

    Returns:
        Their positions, the surest first; none for a system that gives no probabilities.
    """
    if predictions.scores is None:
        return []
    column = {word: index for index, word in enumerate(predictions.labels)}
    pairs_of = zip(predictions.truths, predictions.predicted, strict=True)
    wrong = [i for i, (truth, answer) in enumerate(pairs_of) if truth != answer and answer in column]
    surest = np.array([predictions.scores[i, column[str(predictions.predicted[i])]] for i in wrong])
    pairs: Counter[tuple[str, str | None]] = Counter()
    chosen: list[int] = []
    for position in np.argsort(-surest, kind="stable"):
        index = wrong[position]
        pair = predictions.truths[index], predictions.predicted[index]
        pairs[pair] += 1
        if pairs[pair] <= of_a_pair:
            chosen.append(index)
        if len(chosen) == count:
            break
    return chosen
