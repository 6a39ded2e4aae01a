# SPDX-License-Identifier: Apache-2.0
"""Linear probes of the layers of a frozen encoder, selected on held-out training speakers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm.auto import tqdm

from mser_llm.evaluation.baselines.model_selection import Selection, probabilities, select_by_speakers
from mser_llm.evaluation.baselines.weighted_layers import WeightedLayersClassifier
from mser_llm.evaluation.labeled_clips import LabeledClips
from mser_llm.evaluation.predictions import Predictions


C_VALUES = (0.001, 0.01, 0.1)


@dataclass(frozen=True)
class LayerProbe:
    """
    A fitted probe.

    Attributes:
        layer: the input layer, 0 being the output of the convolutions; None for a learned mean of all.
        choice: the classifier and its C, selected on held-out training speakers.
    """

    layer: int | None
    choice: Selection

    @property
    def C(self) -> float:
        """The chosen C."""
        return self.choice.name

    @property
    def validation(self) -> float:
        """UA on held-out training speakers."""
        return self.choice.best_validation

    @property
    def layer_weights(self) -> list[float] | None:
        """Weights of the layers, which sum to 1; None for a probe of one layer."""
        return None if self.layer is not None else self.choice.classifier.layer_weights_.tolist()

    def predictions(self, features: np.ndarray, clips: LabeledClips, labels: Sequence[str]) -> Predictions:
        """Predict clips from features `(num_clips, num_layers, dim)`."""
        inputs, classifier = features if self.layer is None else features[:, self.layer], self.choice.classifier
        return clips.to_predictions(labels, classifier.predict(inputs), probabilities(classifier, inputs, labels))


def probe_layers(
    features: np.ndarray, clips: LabeledClips, c_values: Sequence[float] = C_VALUES
) -> tuple[list[LayerProbe], LayerProbe]:
    """
    Fit logistic regression on each layer of the training clips; select C and a layer on held-out training speakers.

    Args:
        features: `(num_clips, num_layers, dim)`.

    Returns:
        the probe of each layer, and the selected one.

    Raises:
        InputError: the clips have one speaker or one emotion only.
    """
    candidates: dict[Any, Any] = {
        value: make_pipeline(StandardScaler(), LogisticRegression(C=value, class_weight="balanced", max_iter=500))
        for value in c_values
    }
    truths, speakers = np.array(clips.truths), clips.speakers
    probes = [
        LayerProbe(layer, select_by_speakers(candidates, features[:, layer], truths, speakers))
        for layer in tqdm(range(features.shape[1]), desc="Probing", unit="layer")
    ]
    return probes, max(probes, key=lambda probe: probe.validation)


def probe_weighted_layers(
    features: np.ndarray, clips: LabeledClips, c_values: Sequence[float] = C_VALUES
) -> LayerProbe:
    """Fit one probe on a learned mean of all layers; arguments and errors as in `probe_layers`."""
    candidates = {value: WeightedLayersClassifier(C=value) for value in c_values}
    truths = np.array(clips.truths)
    return LayerProbe(None, select_by_speakers(candidates, features, truths, clips.speakers, "Probing all layers"))
