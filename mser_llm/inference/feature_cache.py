# SPDX-License-Identifier: Apache-2.0
"""Encode each clip once: features on disk, by the content of the clip and everything else that they depend on."""

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch

from modeling_mser import EmotionClassifier, MSERForEmotionGeneration
from mser_llm.io.disk_errors import explain_disk_full
from mser_llm.io.hashing import digest
from mser_llm.io.store import Store
from processing_mser import EmotionClassifierProcessor, MSERProcessor


class FeatureEncoder:
    """
    Compute the features that training reads from waveforms, in half precision.

    If the encoder or its lower layers are frozen, the features are the states of `encode_audio`,
    `(num_layers, num_frames, hidden_size)` at 50 frames/s. If it is trained, its output changes, and the features are
    the log-mel spectrogram `(num_mel_bins, num_frames)` at 100 frames/s.

    Args:
        model: provides the encoder.
        processor: provides the feature extractor.
    """

    def __init__(
        self,
        model: MSERForEmotionGeneration | EmotionClassifier,
        processor: MSERProcessor | EmotionClassifierProcessor,
    ):
        self.model, self.processor = model, processor
        self.encodes = model.frozen_encoder() is not None

    @torch.inference_mode()
    def __call__(self, waveforms: list[np.ndarray]) -> list[torch.Tensor]:
        """Return the features of mono waveforms `(num_samples,)` at the processor's rate."""
        inputs = self.processor.extract_features(waveforms)
        features, mask = inputs["input_features"], inputs["input_features_mask"]
        if self.encodes:
            device = self.model.device
            states, state_mask = self.model.encode_audio(features.to(device), mask.to(device))
            assert state_mask is not None, "a mask was given"
            lengths = state_mask.sum(-1).tolist()
            clips = [state[:, :length] for state, length in zip(states.cpu(), lengths, strict=True)]
        else:
            clips = [feature[:, :length] for feature, length in zip(features, mask.sum(-1).tolist(), strict=True)]
        return [clip.to(torch.float16).contiguous() for clip in clips]

    @property
    def bytes_per_second(self) -> float:
        """Size of the features per second of audio."""
        encoder: Any = self.model.config.audio_config
        if self.encodes:
            return 50 * len(self.model.config.used_encoder_layers) * encoder.hidden_size * 2
        return 100 * encoder.num_mel_bins * 2

    def fingerprint(self) -> str:
        """Return a digest of what the features depend on but the clip: weights, layers, extraction, padding."""
        frozen = self.model.frozen_encoder()
        settings = {
            "extractor": _extraction_settings(self.processor.feature_extractor),
            "pad_to": self.processor.pad_to,
            "layers": None if frozen is None else frozen[0],
            "crop_seconds": getattr(self.processor, "crop_seconds", None),
        }
        weights = {} if frozen is None else frozen[1]
        weight_digests = {
            name: digest(weight.detach().cpu().contiguous().view(torch.uint8).numpy())
            for name, weight in weights.items()
        }
        return digest(json.dumps(settings, sort_keys=True, default=str), weight_digests)[:32]


def _extraction_settings(extractor: Any) -> dict[str, Any]:
    """Return the class and constructor arguments of a feature extractor; `to_dict` also contains its path."""
    names = [*inspect.signature(type(extractor)).parameters, "padding_side"]
    return {"class": type(extractor).__name__} | {
        name: getattr(extractor, name) for name in names if hasattr(extractor, name)
    }


class FeatureCache:
    """
    Features by name, in a [`Store`].

    Args:
        directory: created by the first `write`. Several processes may read and write it at once.
    """

    def __init__(self, directory: str | Path):
        self.directory = Path(directory)
        self._store = Store(directory)

    def refresh(self) -> None:
        """Find the features that other processes wrote since."""
        self._store.refresh()

    def __contains__(self, name: str) -> bool:
        return digest(name) in self._store

    def __len__(self) -> int:
        return len(self._store)

    def get(self, name: str) -> torch.Tensor | None:
        """Return the features of a name; None if there are none, or if they are damaged."""
        value = self._store.get(digest(name))
        return None if value is None else safetensors.torch.load(value)["features"]

    def write(self, features: Mapping[str, torch.Tensor]) -> None:
        """
        Add features.

        Raises:
            OSError: they cannot be written.
        """
        values = {digest(name): safetensors.torch.save({"features": value}) for name, value in features.items()}
        with explain_disk_full(self.directory, "free space, or pass another --cache_dir or a smaller --cache_gb"):
            self._store.write(values)
