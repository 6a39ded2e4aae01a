# SPDX-License-Identifier: Apache-2.0
"""Views of a batch's features, drawn anew at each step: another clip mixed in, random-resize-crop, masks."""

import math
from dataclasses import dataclass, replace

import torch

from mser_llm.training.data.batch_features import BatchFeatures, Masking


# Whisper's log-mel spectrogram is (log10(power) + 4) / 4.
_LOG_POWER = 4 * math.log(10)


@dataclass(frozen=True)
class ViewStrength:
    """
    How much a view may differ from its clip (after Niizumi et al. 2021, BYOL for Audio, arXiv:2103.06695, Sec. III).

    Attributes:
        masking: masks over frames and channels.
        mixup: the greatest part of another clip that is mixed in; 0 mixes none.
        least_crop, greatest_crop: size of the crop, to the clip's own, along time and along frequency. Above 1 the
            crop reaches past the clip's ends in time; in frequency it is the whole.
    """

    masking: Masking
    mixup: float = 0.0
    least_crop: float = 1.0
    greatest_crop: float = 1.0

    def reduced(self, part: float) -> "ViewStrength":
        """This part of the strength, and no mixing."""
        masking = replace(
            self.masking,
            time_width=round(part * self.masking.time_width),
            channel_width=round(part * self.masking.channel_width),
        )
        return ViewStrength(masking, 0.0, self.least_crop**part, self.greatest_crop**part)

    def view(self, features: BatchFeatures) -> BatchFeatures:
        """One view of each clip, of the clip's own length."""
        mixed = features if self.mixup == 0 else mixed_up(features, self.mixup)
        return resized_crop(mixed, self.least_crop, self.greatest_crop).masked(self.masking)


def mixed_up(features: BatchFeatures, greatest: float) -> BatchFeatures:
    """
    Each clip with a part, uniform up to `greatest`, of a random other clip of the batch.

    Spectrograms are mixed as sounds are, in their power and not in its logarithm, as in BYOL for Audio; encoder states
    are interpolated. Where the other clip has ended the clip stays as it is.
    """
    values, mask = features.values, features.mask
    size, device = len(values), values.device
    if size < 2:
        return features
    other = (torch.arange(size, device=device) + torch.randint(1, size, (size,), device=device)) % size
    part = (torch.rand(size, device=device) * greatest).clamp(min=1e-6)[:, None, None, None]
    if features.encoded:
        mixed = torch.lerp(values, values[other], part)
    else:
        mixed = torch.logaddexp((1 - part).log() + _LOG_POWER * values, part.log() + _LOG_POWER * values[other])
        mixed = mixed / _LOG_POWER
    both = (mask & mask[other])[:, None, :, None]
    return replace(features, values=torch.where(both, mixed, values))


def resized_crop(features: BatchFeatures, least: float, greatest: float) -> BatchFeatures:
    """
    A random stretch of each clip, brought back to the clip's length by linear interpolation; of spectrograms, a
    stretch of the channels likewise. The channels of encoder states have no order, and these are cropped in time
    alone. Past a clip's ends its first or last frame stands.

    Args:
        features: of the clips.
        least, greatest: size of the stretch to the whole.
    """
    if least == greatest == 1:
        return features
    values, mask = features.values, features.mask
    batch_size, _, frames, channels = values.shape
    lengths = mask.sum(1)
    places = torch.arange(frames, device=values.device).expand(batch_size, -1)
    values = _resampled(values, torch.where(mask, _crop(places, lengths, least, greatest), places))
    if not features.encoded:
        bands = torch.arange(channels, device=values.device).expand(batch_size, -1)
        whole = torch.full_like(lengths, channels)
        # A clip is silent before and after itself; beyond the lowest and the highest frequency there is no sound.
        bands = _crop(bands, whole, least, greatest, within=True)
        values = _resampled(values.transpose(2, 3), bands).transpose(2, 3)
    return replace(features, values=values)


def _crop(
    places: torch.Tensor, lengths: torch.Tensor, least: float, greatest: float, within: bool = False
) -> torch.Tensor:
    """Where each place of the result `(batch_size, size)` is read, as a fractional place of the clip."""
    device = places.device
    chance = torch.rand(2, len(places), 1, device=device)
    size = least + chance[0] * (greatest - least)
    if within:
        size = size.clamp(max=1.0)
    room = 1 - size  # negative for a crop larger than the clip, which then lies somewhere in its middle
    start = chance[1] * room
    last = (lengths[:, None] - 1).clamp(min=0)
    return ((start * lengths[:, None]) + places * size).clamp(min=0).minimum(last)


def _resampled(values: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """`(batch_size, layers, size, channels)` read along its third axis at fractional places `(batch_size, size)`."""
    low = places.floor().long()
    high = (low + 1).clamp(max=values.shape[2] - 1)
    clips = torch.arange(len(values), device=values.device)[:, None]
    # (batch_size, size, layers, channels)
    by_place = values.transpose(1, 2)
    part = (places - low).to(values.dtype)[:, :, None, None]
    return torch.lerp(by_place[clips, low], by_place[clips, high], part).transpose(1, 2)
