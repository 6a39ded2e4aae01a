# SPDX-License-Identifier: Apache-2.0
"""The mean and spread of each channel of a frozen encoder over the training clips."""

from collections.abc import Sequence

import torch

from .clips import Clip
from .dataset import ClipFeatures


MEASURED_CLIPS = 1000
# A channel that hardly moves would be blown up to unit variance, its rounding errors with it.
SMALLEST_STD = 1e-3


def channel_statistics(clips: Sequence[Clip], features: ClipFeatures) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Mean and standard deviation over the frames of the training clips, of about `MEASURED_CLIPS` where there are more.

    A few channels of Whisper are larger than the others by orders of magnitude and drown them in every projection.

    Args:
        clips: of the training split; which of them are measured depends on their content alone, not on their order.
        features: of a frozen encoder.

    Returns:
        Two float32 tensors `(num_layers, d_model)`.
    """
    ordered = sorted(clips, key=lambda clip: clip.key)
    chosen = ordered[:: max(1, len(ordered) // MEASURED_CLIPS)]
    total = squares = torch.zeros(())
    frames = 0
    for clip in chosen:
        states = features(clip, 0).double()
        total, squares, frames = total + states.sum(1), squares + states.square().sum(1), frames + states.shape[1]
    mean = total / frames
    std = (squares / frames - mean.square()).clamp(min=0).sqrt().clamp(min=SMALLEST_STD)
    return mean.float(), std.float()
