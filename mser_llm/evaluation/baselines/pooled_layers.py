# SPDX-License-Identifier: Apache-2.0
"""What a linear probe sees of a clip: every layer of a frozen encoder, its frames reduced to mean and deviation."""

import hashlib
import json

import numpy as np
import torch

from modeling_mser import MaskedWhisperEncoder
from processing_mser import MSERProcessor


class PooledLayers:
    """
    Mean and standard deviation over time of every layer, one vector a layer.

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
