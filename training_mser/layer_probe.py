# SPDX-License-Identifier: Apache-2.0
"""What each layer of a frozen encoder knows of emotion: linear probes, chosen on held-out training speakers."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm.auto import tqdm

from modeling_mser import MaskedWhisperEncoder
from processing_mser import MSERProcessor

from .clips import Clip


REGULARISATION = (0.001, 0.01, 0.1)
FOLDS = 5


class PooledLayers:
    """
    Mean and standard deviation over time of every layer, one vector a layer: what a probe sees of a clip.

    Args:
        encoder: in evaluation mode.
        processor: whose feature extractor is used.
    """

    def __init__(self, encoder: MaskedWhisperEncoder, processor: MSERProcessor):
        self.encoder, self.processor = encoder, processor
        self.layers = tuple(range(len(encoder.layers) + 1))

    # The widest estimate of what one clip takes, spread over its seconds; pooled features are small.
    @property
    def bytes_per_second(self) -> float:
        return len(self.layers) * 2 * self.encoder.config.d_model * 2

    def fingerprint(self) -> str:
        digest = hashlib.sha256(b"pooled" + self.processor.pad_to.encode())
        digest.update(json.dumps(self.processor.feature_extractor.to_dict(), sort_keys=True, default=str).encode())
        for name, weight in sorted(self.encoder.state_dict().items()):
            digest.update(name.encode() + weight.cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:32]

    @torch.inference_mode()
    def __call__(self, waveforms: list[np.ndarray]) -> list[torch.Tensor]:
        """`(num_layers, 2 * d_model)` for each mono waveform."""
        inputs = self.processor.extract_features(waveforms)
        device = self.encoder.conv1.weight.device
        mask = inputs["input_features_mask"].to(device)
        states = self.encoder(inputs["input_features"].to(device), mask, output_layers=self.layers).hidden_states
        frames = self.encoder.output_mask(mask)[..., None].float()
        counts = frames.sum(1)
        pooled = []
        for state in states:
            mean = (state * frames).sum(1) / counts
            variance = ((state - mean[:, None]).square() * frames).sum(1) / counts
            pooled.append(torch.cat([mean, variance.sqrt()], dim=-1))
        return list(torch.stack(pooled, dim=1).half().cpu())


@dataclass(frozen=True)
class LayerResult:
    """
    A layer's probe.

    Attributes:
        layer: 0 is the convolutions' output.
        regularisation: scikit-learn's C, the best of `REGULARISATION` on held-out training speakers.
        validation: unweighted accuracy on held-out training speakers, five folds.
        test: unweighted accuracy by test corpus; no choice sees it.
    """

    layer: int
    regularisation: float
    validation: float
    test: dict[str, float]


def probe_layers(
    features: np.ndarray,
    clips: Sequence[Clip],
    tests: dict[str, tuple[np.ndarray, Sequence[Clip]]],
    regularisation: Sequence[float] = REGULARISATION,
) -> tuple[list[LayerResult], LayerResult]:
    """
    Logistic regression on each layer, and the layer that the held-out training speakers choose.

    Args:
        features: `(num_clips, num_layers, dim)` of the training clips.
        clips: the training clips.
        tests: corpus to features and clips.
        regularisation: values of C to choose from.

    Returns:
        The result of each layer, and the chosen one.
    """
    emotions = np.array([clip.emotion for clip in clips])
    speakers = np.array([clip.row["speaker"] or clip.row["id"] for clip in clips])
    folds = list(GroupKFold(min(FOLDS, len(set(speakers)))).split(features, emotions, speakers))
    results = []
    for layer in tqdm(range(features.shape[1]), desc="Probing", unit="layer"):
        inputs = features[:, layer]
        scores: dict[float, float] = {}
        for value in regularisation:
            predictions = np.empty_like(emotions)
            for train, held_out in folds:
                predictions[held_out] = _probe(value).fit(inputs[train], emotions[train]).predict(inputs[held_out])
            scores[value] = float(balanced_accuracy_score(emotions, predictions))
        best = max(scores, key=lambda value: scores[value])
        probe = _probe(best).fit(inputs, emotions)
        test = {
            name: float(balanced_accuracy_score([clip.emotion for clip in those], probe.predict(given[:, layer])))
            for name, (given, those) in tests.items()
        }
        results.append(LayerResult(layer, best, scores[best], test))
    return results, max(results, key=lambda result: result.validation)


def _probe(regularisation: float) -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression(C=regularisation, class_weight="balanced", max_iter=500))
