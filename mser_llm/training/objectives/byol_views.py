# SPDX-License-Identifier: Apache-2.0
"""Random views of a batch's features, new at each step: mixup, random-resize-crop and masks."""

import math
from dataclasses import dataclass, replace

import torch

from mser_llm.training.data.batch_features import BatchFeatures, Masking


# Whisper's log-mel spectrogram is (log10(power) + 4) / 4.
_LOG_POWER = 4 * math.log(10)


@dataclass(frozen=True)
class ViewStrength:
    """
    Strength of the augmentations (after Niizumi et al. 2021, BYOL for Audio, arXiv:2103.06695, Sec. III).

    Mixup is the maximum proportion of another clip. The size of a crop is relative to the clip. A crop above 1 extends
    past the clip in time; in frequency it is limited to 1.
    """

    masking: Masking
    mixup: float = 0.0
    least_crop: float = 1.0
    greatest_crop: float = 1.0

    def reduced(self, part: float) -> "ViewStrength":
        """Scale the strength by `part`, 0 to 1, and disable mixup."""
        masking = replace(
            self.masking,
            time_width=round(part * self.masking.time_width),
            channel_width=round(part * self.masking.channel_width),
        )
        return ViewStrength(masking, 0.0, self.least_crop**part, self.greatest_crop**part)

    def view(self, features: BatchFeatures) -> BatchFeatures:
        """Draw one view of each clip, of the same length as the clip."""
        mixed = features if self.mixup == 0 else mixed_up(features, self.mixup)
        return resized_crop(mixed, self.least_crop, self.greatest_crop).masked(self.masking)


def mixed_up(features: BatchFeatures, greatest: float) -> BatchFeatures:
    """
    Mix each clip with a random other clip of the batch, in a proportion drawn uniformly from 0 to `greatest`.

    Spectrograms are mixed in power, not in log power, as in BYOL for Audio. Encoder states are interpolated. Frames
    past the end of the other clip are unchanged.
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
    Crop a random range of each clip and resize it to the clip's length by linear interpolation.

    The size of the range relative to the clip is from `least` to `greatest`. Spectrograms are cropped along the
    channels too. Encoder states are not, because their channels have no order. Outside the clip, the first or last
    frame is repeated.
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
        # A crop may extend past the clip in time, but not past the lowest or highest frequency.
        bands = _crop(bands, whole, least, greatest, within=True)
        values = _resampled(values.transpose(2, 3), bands).transpose(2, 3)
    return replace(features, values=values)


def _crop(
    places: torch.Tensor, lengths: torch.Tensor, least: float, greatest: float, within: bool = False
) -> torch.Tensor:
    """Return the fractional source position of each position of the result `(batch_size, size)`."""
    device = places.device
    chance = torch.rand(2, len(places), 1, device=device)
    size = least + chance[0] * (greatest - least)
    if within:
        size = size.clamp(max=1.0)
    room = 1 - size  # negative if the crop is larger than the clip
    start = chance[1] * room
    last = (lengths[:, None] - 1).clamp(min=0)
    return ((start * lengths[:, None]) + places * size).clamp(min=0).minimum(last)


def _resampled(values: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Interpolate `(batch_size, layers, size, channels)` along axis 2 at positions `(batch_size, size)`."""
    low = places.floor().long()
    high = (low + 1).clamp(max=values.shape[2] - 1)
    clips = torch.arange(len(values), device=values.device)[:, None]
    # Shape (batch_size, size, layers, channels).
    by_place = values.transpose(1, 2)
    part = (places - low).to(values.dtype)[:, :, None, None]
    return torch.lerp(by_place[clips, low], by_place[clips, high], part).transpose(1, 2)
