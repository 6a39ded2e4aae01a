# SPDX-License-Identifier: Apache-2.0
"""Each clip encoded once: features on disk, under the clip's content and all that decides what comes of it."""

import hashlib
import inspect
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from modeling_mser import EmotionClassifier, MSERForEmotionGeneration
from processing_mser import EmotionClassifierProcessor, MSERProcessor


class FeatureEncoder:
    """
    Waveforms to the features that training reads, in half precision.

    Over a frozen encoder, or one whose lower layers are, these are the states that `encode_audio` gives,
    `(num_layers, num_frames, hidden_size)` at 50 frames a second; over one that is being trained, whose output
    changes, the log-mel spectrogram `(num_mel_bins, num_frames)` at 100.

    Args:
        model: whose encoder is used.
        processor: whose feature extractor is used.
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
        """Features of mono waveforms `(num_samples,)` at the processor's rate, in their order."""
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
        """Of one clip's features."""
        encoder: Any = self.model.config.audio_config
        if self.encodes:
            return 50 * len(self.model.config.used_encoder_layers) * encoder.hidden_size * 2
        return 100 * encoder.num_mel_bins * 2

    def fingerprint(self) -> str:
        """Of everything but the clip that decides its features: weights, layers, feature extraction, padding."""
        digest = hashlib.sha256()
        frozen = self.model.frozen_encoder()
        settings = {
            "extractor": _extraction_settings(self.processor.feature_extractor),
            "pad_to": self.processor.pad_to,
            "layers": None if frozen is None else frozen[0],
        }
        crop = getattr(self.processor, "crop_seconds", None)
        settings |= {} if crop is None else {"crop_seconds": crop}
        digest.update(json.dumps(settings, sort_keys=True, default=str).encode())
        if frozen is not None:
            for name, weight in sorted(frozen[1].items()):
                digest.update(name.encode())
                digest.update(weight.detach().cpu().contiguous().view(torch.uint8).numpy())
        return digest.hexdigest()[:32]


def _extraction_settings(extractor: Any) -> dict[str, Any]:
    """The class of a feature extractor and what it is constructed with: `to_dict` also records where it was loaded."""
    names = [*inspect.signature(type(extractor)).parameters, "padding_side"]
    return {"class": type(extractor).__name__} | {
        name: getattr(extractor, name) for name in names if hasattr(extractor, name)
    }


class FeatureCache:
    """
    Features by name, in safetensors shards. A shard is whole or absent: it is written under another name and renamed.

    Args:
        directory: made if need be; several processes may read and write it at once.
    """

    def __init__(self, directory: str | Path):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self._shard_of: dict[str, Path] = {}
        self._known: set[Path] = set()
        self._open: dict[Path, safe_open] = {}
        self.refresh()

    def refresh(self) -> None:
        """Takes in the shards that other processes wrote since."""
        for shard in sorted(self.directory.glob("*.safetensors")):
            if shard in self._known:
                continue
            try:
                with safe_open(shard, framework="pt") as file:
                    self._shard_of.update(dict.fromkeys(file.keys(), shard))
            except SafetensorError as error:
                raise ValueError(f"{shard}: damaged ({error}); delete it, and its clips are encoded again") from error
            self._known.add(shard)

    def __contains__(self, name: str) -> bool:
        return name in self._shard_of

    def __getitem__(self, name: str) -> torch.Tensor:
        shard = self._shard_of[name]
        if shard not in self._open:
            self._open[shard] = safe_open(shard, framework="pt")
        return self._open[shard].get_tensor(name)

    def write(self, features: Mapping[str, torch.Tensor]) -> None:
        """One shard of these features."""
        if not features:
            return
        # Named by its content, so that the same clips encoded twice are one shard and not two.
        name = hashlib.sha256("\n".join(sorted(features)).encode()).hexdigest()[:16]
        shard = self.directory / f"{name}.safetensors"
        with tempfile.NamedTemporaryFile(dir=self.directory, suffix=".partial", delete=False) as file:
            partial = Path(file.name)
        try:
            try:
                save_file(dict(features), partial)
            except SafetensorError as error:  # a full disk is none of Python's errors there
                raise OSError(
                    f"{shard}: cannot be written ({error}); make room, or give another --cache_dir or a "
                    "smaller --cache_gb"
                ) from error
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            partial.replace(shard)
        finally:
            partial.unlink(missing_ok=True)
        self.refresh()
