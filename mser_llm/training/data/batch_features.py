# SPDX-License-Identifier: Apache-2.0
"""One layout for the features of a batch, log-mel spectrograms or encoder states."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from processing_mser.augmentation_mser import mask_features


@dataclass(frozen=True)
class Masking:
    """Numbers and maximum widths, in frames and channels, of SpecAugment's masks (arXiv:1904.08779)."""

    time_masks: int = 0
    time_width: int = 0
    channel_masks: int = 0
    channel_width: int = 0


@dataclass(frozen=True)
class BatchFeatures:
    """
    Log-mel spectrograms or encoder states, with the frames before the channels.

    Attributes:
        values: `(batch_size, num_layers, num_frames, num_channels)`; spectrograms have one layer.
        mask: `(batch_size, num_frames)`, true on real frames; padding is on the right.
        encoded: whether these are encoder states.
    """

    values: torch.Tensor
    mask: torch.Tensor
    encoded: bool

    @classmethod
    def of(cls, inputs: Mapping[str, torch.Tensor]) -> "BatchFeatures":
        """Take the features from the inputs of a model."""
        if "encoder_states" in inputs:
            return cls(inputs["encoder_states"], inputs["encoder_mask"].bool(), encoded=True)
        spectrograms = inputs["input_features"].transpose(1, 2)[:, None]
        return cls(spectrograms, inputs["input_features_mask"].bool(), encoded=False)

    def inputs(self) -> dict[str, torch.Tensor]:
        """Return the features as inputs of a model."""
        if self.encoded:
            return {"encoder_states": self.values, "encoder_mask": self.mask}
        return {"input_features": self.values[:, 0].transpose(1, 2), "input_features_mask": self.mask}

    @classmethod
    def joined(cls, parts: Sequence["BatchFeatures"]) -> "BatchFeatures":
        """Concatenate batches of the same padded length."""
        values, masks = (torch.cat([getattr(part, name) for part in parts]) for name in ("values", "mask"))
        return cls(values, masks, parts[0].encoded)

    def masked(self, masking: Masking, spared: torch.Tensor | None = None) -> "BatchFeatures":
        """Set random ranges of frames and channels to zero, per clip and equal in its layers; leave some clips out."""
        if not (masking.time_masks or masking.channel_masks):
            return self
        kept = mask_features(
            torch.ones_like(self.values[:, 0]),
            self.mask,
            time_masks=masking.time_masks,
            time_width=masking.time_width,
            channel_masks=masking.channel_masks,
            channel_width=masking.channel_width,
        )
        if spared is not None:
            kept[spared] = 1
        return replace(self, values=self.values * kept[:, None])

    def rows(self, chosen: torch.Tensor) -> "BatchFeatures":
        """Select clips by a mask `(batch_size,)` or by indices."""
        return replace(self, values=self.values[chosen], mask=self.mask[chosen])
