# SPDX-License-Identifier: Apache-2.0
"""One of several classifiers, chosen by speakers that it was not fitted on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GroupKFold
from tqdm.auto import tqdm


FOLDS = 5


@dataclass(frozen=True)
class Selection:
    """The candidate that recognises held-out training speakers best, fitted on all training clips.

    Attributes:
        name: which candidate.
        classifier: the fitted one.
        validation: UA on held-out training speakers of every candidate, by name.
    """

    name: Any
    classifier: Any
    validation: dict[Any, float]


def select_by_speakers(
    candidates: Mapping[Any, Any], features: np.ndarray, truths: np.ndarray, speakers: np.ndarray, title: str = ""
) -> Selection:
    """Cross-validation in which no speaker is on both sides; no test clip is seen.

    Args:
        candidates: scikit-learn classifiers by name; what they standardise, they standardise within each fold.
        features: `(num_clips, ...)` of the training clips.
        truths: `(num_clips,)` words.
        speakers: `(num_clips,)` names. With fewer than `FOLDS` there are as many folds as speakers.
        title: of the progress bar; empty shows none.

    Raises:
        ValueError: all clips are of one speaker, or of one emotion.
    """
    for what, values in (("speaker", speakers), ("emotion", truths)):
        if len(set(values)) < 2:
            raise ValueError(
                f"all {len(values)} training clips are of one {what} ({values[0]}); a baseline is fitted and chosen "
                f"on two at least: give more training speech"
            )
    folds = list(GroupKFold(min(FOLDS, len(set(speakers)))).split(features, truths, speakers))
    validation = {}
    for name, candidate in tqdm(candidates.items(), desc=title, unit="candidate", disable=not title):
        answers = np.empty_like(truths)
        for train, held_out in folds:
            answers[held_out] = clone(candidate).fit(features[train], truths[train]).predict(features[held_out])
        validation[name] = float(balanced_accuracy_score(truths, answers))
    best = max(validation, key=lambda name: validation[name])
    return Selection(best, clone(candidates[best]).fit(features, truths), validation)


def probabilities(classifier: Any, features: np.ndarray, labels: tuple[str, ...]) -> np.ndarray:
    """`predict_proba` in the order of the candidate words `(num_clips, num_labels)`; 0 for a word never trained on."""
    found = dict(zip(classifier.classes_, classifier.predict_proba(features).T, strict=True))
    nothing = np.zeros(len(features))
    return np.stack([found.get(label, nothing) for label in labels], axis=1)
