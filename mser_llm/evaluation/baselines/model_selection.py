# SPDX-License-Identifier: Apache-2.0
"""Select one of several classifiers on held-out speakers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from tqdm.auto import tqdm

from mser_llm.io.errors import InputError


FOLDS = 5


@dataclass(frozen=True)
class Selection:
    """The best candidate on held-out training speakers, fitted on all training clips.

    Attributes:
        name: of the candidate.
        classifier: the fitted candidate.
        validation: UA of every candidate on held-out training speakers, by name.
    """

    name: Any
    classifier: Any
    validation: dict[Any, float]

    @property
    def best_validation(self) -> float:
        """UA of the chosen candidate on held-out training speakers."""
        return self.validation[self.name]


def select_by_speakers(
    candidates: Mapping[Any, Any], features: np.ndarray, truths: np.ndarray, speakers: np.ndarray, title: str = ""
) -> Selection:
    """Select a classifier by cross-validation grouped by speaker on the training clips.

    Args:
        candidates: scikit-learn classifiers by name; standardization belongs inside, so that it is fitted per fold.
        features: `(num_clips, ...)` of the training clips.
        truths, speakers: `(num_clips,)`. There are `FOLDS` folds, or one per speaker if there are fewer speakers.
        title: of the progress bar; empty shows none.

    Raises:
        InputError: all clips have the same speaker or the same emotion.
    """
    for what, values in (("speaker", speakers), ("emotion", truths)):
        if len(set(values)) < 2:
            raise InputError(
                "training clips",
                f"all {len(values)} have the same {what} ({values[0]})",
                f"add clips of another {what}",
            )
    folds = GroupKFold(min(FOLDS, len(set(speakers))))
    validation = {}
    for name, candidate in tqdm(candidates.items(), desc=title, unit="candidate", disable=not title):
        predicted = cross_val_predict(candidate, features, truths, groups=speakers, cv=folds)
        validation[name] = float(balanced_accuracy_score(truths, predicted))
    best = max(validation, key=validation.__getitem__)
    return Selection(best, clone(candidates[best]).fit(features, truths), validation)


def probabilities(classifier: Any, features: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    """Reorder `predict_proba` to the candidate labels, `(num_clips, num_labels)`; 0 for labels not in training."""
    found = dict(zip(classifier.classes_, classifier.predict_proba(features).T, strict=True))
    nothing = np.zeros(len(features))
    return np.stack([found.get(label, nothing) for label in labels], axis=1)
