# SPDX-License-Identifier: Apache-2.0
"""The figures of speech emotion recognition, from one table of counts.

The field's names: WA (weighted accuracy) is plain accuracy, UA (unweighted accuracy) the mean of the per-class
recalls, WF1 the F1 averaged by support. UA and macro-F1 average over the labels that occur in the references.
"""

from collections.abc import Sequence

import numpy as np

from mser_llm.evaluation.metrics.count_figures import count_figures
from processing_mser.emotions_mser import UNPARSED


def _counts(references: Sequence[str], predictions: Sequence[str | None], labels: tuple[str, ...]) -> np.ndarray:
    """Counts `(len(labels), len(labels) + 1)`: rows truth, columns prediction, the last column unparsed."""
    if not labels or len(set(labels)) != len(labels):
        raise ValueError(f"The label list must hold distinct words, got {list(labels)}; pass label_set(...).words.")
    if UNPARSED in labels:
        raise ValueError(f"{UNPARSED!r} marks answers outside the label list and cannot be a label; rename the class.")
    if len(references) != len(predictions):
        raise ValueError(
            f"{len(references)} references but {len(predictions)} predictions; pass one prediction for each reference."
        )
    if len(references) == 0:
        raise ValueError("No clip to score: references are empty; check that the corpus holds any of the labels.")
    row = {word: index for index, word in enumerate(labels)}
    column = row | {UNPARSED: len(labels), None: len(labels)}
    counts = np.zeros((len(labels), len(labels) + 1), dtype=np.int64)
    for position, (truth, answer) in enumerate(zip(references, predictions, strict=True)):
        if truth not in row:
            raise ValueError(
                f"Reference {truth!r} at {position} is not a label of {list(labels)}; drop such clips before scoring."
            )
        if answer not in column:
            raise ValueError(
                f"Prediction {answer!r} at {position} is neither a label of {list(labels)} nor {UNPARSED!r}; "
                "pass free text through parse_emotion first."
            )
        counts[row[truth], column[answer]] += 1
    return counts


def emotion_metrics(references: Sequence[str], predictions: Sequence[str | None], labels: Sequence[str]) -> dict:
    """All figures for one list of clips.

    Args:
        references: true emotion words, each one of `labels`.
        predictions: predicted words, each one of `labels`, or `UNPARSED` (or None) where no word could be read out of
            the model's answer: an error for every figure, and counted apart in the confusion matrix.
        labels: the fixed list of candidate words; it is never taken from the data.

    Returns:
        JSON-ready values. `WA`, `UA`, `WF1`, `macro_F1`, `precision` (weighted by support) and `unparsed` are
        fractions in [0, 1]; `n` clips; `supported_labels` the number of labels that occur in `references`; `recall` by
        word, None without support; `support` clips by word; `confusion` counts, rows truth and columns prediction in
        the order of `labels`; `confusion_unparsed` the unparsed answers of each row.

    Raises:
        ValueError: empty or unequal lists, a reference outside `labels`, or a prediction that is neither one of
            `labels` nor unparsed.
    """
    labels = tuple(labels)
    counts = _counts(references, predictions, labels)
    figures, support = count_figures(counts), counts.sum(axis=1)
    return {
        **{name: float(figures[name]) for name in ("WA", "UA", "WF1", "macro_F1", "precision", "unparsed")},
        "n": int(support.sum()),
        "supported_labels": int((support > 0).sum()),
        "recall": {word: float(figures["recall"][i]) if support[i] else None for i, word in enumerate(labels)},
        "support": {word: int(support[i]) for i, word in enumerate(labels)},
        "confusion": counts[:, :-1].tolist(),
        "confusion_unparsed": counts[:, -1].tolist(),
    }
