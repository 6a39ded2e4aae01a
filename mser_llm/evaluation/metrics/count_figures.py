# SPDX-License-Identifier: Apache-2.0
"""The formulas of the figures, over one table of counts or over thousands of them at once."""

import numpy as np


FIGURES = ("UA", "WA", "WF1", "macro_F1", "precision")


def count_figures(counts: np.ndarray) -> dict[str, np.ndarray]:
    """
    The figures of tables of counts.

    UA and macro-F1 average over the labels that occur in the references: a label without a single clip has no recall,
    and a zero in its place would punish a model for what the corpus lacks.

    Args:
        counts: `(..., num_labels, num_labels + 1)`; rows truth, columns prediction, the last column unparsed.

    Returns:
        each of `FIGURES` and `unparsed`, `(...)`, NaN where a table has no clip; `recall` `(..., num_labels)`, NaN
        where a label has none.
    """
    counts = np.asarray(counts, dtype=np.float64)
    confusion, unparsed = counts[..., :-1], counts[..., -1]
    correct = np.diagonal(confusion, axis1=-2, axis2=-1)
    support, predicted = counts.sum(axis=-1), confusion.sum(axis=-2)
    with np.errstate(invalid="ignore"):
        recall = correct / support
        n, supported = support.sum(axis=-1), (support > 0).sum(axis=-1)
        # The maxima only keep 0 / 0 apart: a label never predicted has precision 0.
        precision = correct / np.maximum(predicted, 1)
        f1 = 2 * correct / np.maximum(support + predicted, 1)
        return {
            "UA": np.nansum(recall, axis=-1) / supported,
            "WA": correct.sum(axis=-1) / n,
            "WF1": (f1 * support).sum(axis=-1) / n,
            "macro_F1": (f1 * (support > 0)).sum(axis=-1) / supported,
            "precision": (precision * support).sum(axis=-1) / n,
            "unparsed": unparsed.sum(axis=-1) / n,
            "recall": recall,
        }
