# SPDX-License-Identifier: Apache-2.0
"""Pool every layer of a frozen encoder over time, as input of linear probes."""

import json

import numpy as np
import torch

from modeling_mser import MaskedWhisperEncoder
from mser_llm.io.hashing import digest
from processing_mser import MSERProcessor


class PooledLayers:
    """Compute the mean and standard deviation over time of every layer of an encoder in evaluation mode."""

    def __init__(self, encoder: MaskedWhisperEncoder, processor: MSERProcessor):
        self.encoder, self.processor = encoder, processor
        self.layers = tuple(range(len(encoder.layers) + 1))

    # An upper estimate: the size of one clip's features per second of audio.
    @property
    def bytes_per_second(self) -> float:
        return len(self.layers) * 2 * self.encoder.config.d_model * 2

    def fingerprint(self) -> str:
        """Hash everything except the clip that determines its features."""
        extractor = json.dumps(self.processor.feature_extractor.to_dict(), sort_keys=True, default=str)
        weights = [
            part
            for name, weight in sorted(self.encoder.state_dict().items())
            for part in (name, weight.cpu().contiguous().view(torch.uint8).numpy())
        ]
        return digest("pooled", self.processor.pad_to, extractor, *weights)[:32]

    @torch.inference_mode()
    def __call__(self, waveforms: list[np.ndarray]) -> list[torch.Tensor]:
        """Return `(num_layers, 2 * d_model)` for each mono waveform at 16 kHz."""
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
