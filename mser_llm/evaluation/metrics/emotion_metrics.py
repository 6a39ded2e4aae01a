# SPDX-License-Identifier: Apache-2.0
"""Compute the metrics of speech emotion recognition from tables of counts.

The names are those of the field: WA (weighted accuracy) is plain accuracy, UA (unweighted accuracy) the mean of the
per-class recalls, WF1 the F1 weighted by support. UA and macro-F1 average over labels that occur in the references.
"""

from collections.abc import Sequence

import numpy as np

from mser_llm.io.errors import InputError
from processing_mser.emotions_mser import UNPARSED


METRICS = ("UA", "WA", "WF1", "macro_F1", "precision")


def metrics_from_counts(counts: np.ndarray) -> dict[str, np.ndarray]:
    """
    Compute metrics for one table of counts or for thousands at once.

    UA and macro-F1 average over the labels that occur in the references. A label without clips has no recall; counting
    it as zero would penalize a model for a gap in the corpus.

    Args:
        counts: `(..., num_labels, num_labels + 1)`; rows references, columns predictions, the last column unparsed.

    Returns:
        each of `METRICS` and `unparsed`, `(...)`, NaN for a table without clips; `recall` `(..., num_labels)`, NaN
        for a label without clips.
    """
    counts = np.asarray(counts, dtype=np.float64)
    confusion, unparsed = counts[..., :-1], counts[..., -1]
    correct = np.diagonal(confusion, axis1=-2, axis2=-1)
    support, predicted = counts.sum(axis=-1), confusion.sum(axis=-2)
    with np.errstate(invalid="ignore"):
        recall = correct / support
        n, supported = support.sum(axis=-1), (support > 0).sum(axis=-1)
        # The maxima avoid 0 / 0: a label that is never predicted has precision 0.
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


def _counts(references: Sequence[str], predictions: Sequence[str | None], labels: tuple[str, ...]) -> np.ndarray:
    """Count clips by reference and prediction, `(num_labels, num_labels + 1)`; the last column is unparsed."""
    if not labels or len(set(labels)) != len(labels):
        raise InputError("labels", f"{list(labels)} is not a list of distinct words", "pass label_set(...).words")
    if UNPARSED in labels:
        raise InputError("labels", f"{UNPARSED!r} marks unparsed predictions", "give the label another name")
    if len(references) != len(predictions):
        raise InputError(
            "predictions",
            f"{len(predictions)} predictions for {len(references)} references",
            "pass one prediction per reference",
        )
    if len(references) == 0:
        raise InputError("references", "there is no clip to score", "check that the corpus contains any of the labels")
    row = {word: index for index, word in enumerate(labels)}
    column = row | {UNPARSED: len(labels), None: len(labels)}
    counts = np.zeros((len(labels), len(labels) + 1), dtype=np.int64)
    for position, (reference, prediction) in enumerate(zip(references, predictions, strict=True)):
        if reference not in row:
            problem = f"{reference!r} at position {position} is not in {list(labels)}"
            raise InputError("references", problem, "drop such clips before scoring")
        if prediction not in column:
            problem = f"{prediction!r} at position {position} is neither in {list(labels)} nor {UNPARSED!r}"
            raise InputError("predictions", problem, "pass free text through parse_emotion first")
        counts[row[reference], column[prediction]] += 1
    return counts


def emotion_metrics(references: Sequence[str], predictions: Sequence[str | None], labels: Sequence[str]) -> dict:
    """Compute all metrics for one list of clips.

    Args:
        references: true emotions, each one of `labels`.
        predictions: predicted emotions, each one of `labels`, or `UNPARSED` or None if no label could be parsed from
            the generated text. Unparsed predictions count as errors and have their own column in the confusion matrix.
        labels: the fixed list of candidate labels; it is never taken from the data.

    Returns:
        JSON-ready values. `WA`, `UA`, `WF1`, `macro_F1`, `precision` (weighted by support) and `unparsed` are
        fractions in [0, 1]; `n` clips; `supported_labels`, the number of labels that occur in `references`; `recall`
        by label, None without support; `support`, clips by label; `confusion`, counts with references as rows and
        predictions as columns in the order of `labels`; `confusion_unparsed`, the unparsed predictions of each row.

    Raises:
        InputError: empty lists, lists of unequal length, a reference outside `labels`, or a prediction that is neither
            in `labels` nor unparsed.
    """
    labels = tuple(labels)
    counts = _counts(references, predictions, labels)
    metrics, support = metrics_from_counts(counts), counts.sum(axis=1)
    return {
        **{name: float(metrics[name]) for name in ("WA", "UA", "WF1", "macro_F1", "precision", "unparsed")},
        "n": int(support.sum()),
        "supported_labels": int((support > 0).sum()),
        "recall": {word: float(metrics["recall"][i]) if support[i] else None for i, word in enumerate(labels)},
        "support": {word: int(support[i]) for i, word in enumerate(labels)},
        "confusion": counts[:, :-1].tolist(),
        "confusion_unparsed": counts[:, -1].tolist(),
    }
