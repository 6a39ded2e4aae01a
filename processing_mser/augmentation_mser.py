# SPDX-License-Identifier: Apache-2.0
"""Augment training data: changed copies (views) of a waveform, and masks over features."""

import hashlib
import math
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import soxr
import torch

from .audio_checks_mser import MIN_SECONDS
from .audio_mser import MAX_SECONDS, SAMPLING_RATE


@dataclass(frozen=True)
class WaveformAugmenter:
    """Create views of a recording by changing its tempo, pitch, gain and noise.

    A view depends only on the seed, the clip's id, the view's index and the ranges below. It is the same in any order,
    process or thread, so its features can be cached. Therefore each view has its own random generator, and
    audiomentations, which uses the global ones, gets exact amounts.

    Each range is `(minimum, maximum)`.

    Args:
        seed: seed of all views.
        time_rate: tempo without changing the pitch; below 1 is slower.
        semitones: pitch shift. Pitch carries emotion, so keep it small.
        gain_db: gain.
        snr_db: signal-to-noise ratio of white Gaussian noise.
        probability: of each change, drawn independently.
        speed: playback speed, which also changes the pitch; `None` disables it.

    Raises:
        ImportError: audiomentations (extra `augment`) is not installed.
        ValueError: a minimum is greater than its maximum, or the probability is outside 0 to 1.
    """

    seed: int = 0
    time_rate: tuple[float, float] = (0.9, 1.1)
    semitones: tuple[float, float] = (-1.0, 1.0)
    gain_db: tuple[float, float] = (-6.0, 6.0)
    snr_db: tuple[float, float] = (10.0, 40.0)
    probability: float = 0.5
    speed: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        _audiomentations()
        for name in ("time_rate", "semitones", "gain_db", "snr_db", "speed"):
            low, high = getattr(self, name) or (0, 0)
            if low > high:
                raise ValueError(f"{name} is ({low}, {high}); pass the smaller value first")
        if not 0 <= self.probability <= 1:
            raise ValueError(f"probability is {self.probability}; pass a value from 0 to 1")

    @property
    def name(self) -> str:
        """Identifier of the views: the seed, and a hash of the settings if they are not the default."""
        if self == WaveformAugmenter(seed=self.seed):
            return str(self.seed)
        return f"{self.seed}-{hashlib.sha256(repr(self).encode()).hexdigest()[:8]}"

    def view(self, waveform: np.ndarray, clip_id: str, index: int, sampling_rate: int = SAMPLING_RATE) -> np.ndarray:
        """Create a view of a waveform `(num_samples,)` float32; view 0 is the unchanged recording.

        Returns:
            float32 of `MIN_SECONDS` to `MAX_SECONDS`.
        """
        if index == 0:
            return waveform
        key = f"{self.seed}\0{clip_id}\0{index}".encode()
        chance = np.random.default_rng(int.from_bytes(hashlib.sha256(key).digest(), "big"))
        # Unused values are drawn too, so that one range does not change the draws of the others.
        changes = chance.random(4) < self.probability
        rate, semitones, gain_db, snr_db = (
            chance.uniform(low, high) for low, high in (self.time_rate, self.semitones, self.gain_db, self.snr_db)
        )
        if self.speed is not None:
            played, speed = chance.random() < self.probability, chance.uniform(*self.speed)
            if played:
                faster = sampling_rate * _bounded(speed, len(waveform) / sampling_rate)
                waveform = soxr.resample(waveform, faster, sampling_rate)[: int(MAX_SECONDS * sampling_rate)]
        if changes[0]:
            rate = _bounded(rate, len(waveform) / sampling_rate)
            stretch = _audiomentations().TimeStretch(leave_length_unchanged=False)
            stretched = _applied(stretch, waveform, sampling_rate, rate=rate)
            waveform = stretched[: int(MAX_SECONDS * sampling_rate)]  # cuts rounding errors
        if changes[1]:
            waveform = _applied(_audiomentations().PitchShift(), waveform, sampling_rate, num_semitones=semitones)
        if changes[2]:
            waveform = waveform * 10 ** (gain_db / 20)
        if changes[3]:
            loudness = math.sqrt(np.mean(np.square(waveform, dtype=np.float64)))
            noise = chance.standard_normal(len(waveform), dtype=np.float32)
            waveform = waveform + noise * (loudness * 10 ** (-snr_db / 20))
        return waveform.astype(np.float32)


def low_resource_augmenter(seed: int = 0) -> WaveformAugmenter:
    """
    Create the augmentation of Gong et al. 2025, "Learning More with Less", Sec. 2.1.

    Gaussian noise of 10 to 20 dB (the paper's range), gain, speed, and pitch shift, which stretches the spectrum at an
    unchanged duration (our ranges). The paper also inverts the polarity, which does not change a log-mel spectrogram.
    SpecAugment is applied to the features in training.
    """
    return WaveformAugmenter(seed, time_rate=(1.0, 1.0), semitones=(-2.0, 2.0), snr_db=(10.0, 20.0), speed=(0.9, 1.1))


def _bounded(rate: float, seconds: float) -> float:
    """Limit a rate so that the clip keeps a length that the model accepts."""
    return min(max(rate, seconds / MAX_SECONDS), seconds / MIN_SECONDS)


def _audiomentations() -> ModuleType:
    """Import the library on first use, because most trainings have no views."""
    try:
        import audiomentations
    except ImportError as error:
        raise ImportError('augmenting waveforms needs audiomentations; pip install "mser-llm[augment]"') from error
    return audiomentations


def _applied(transform: Any, waveform: np.ndarray, sampling_rate: int, **amounts: float) -> np.ndarray:
    """Apply a transform with exact amounts; frozen, it does not use a global random generator."""
    transform.parameters = {"should_apply": True, **amounts}
    transform.freeze_parameters()
    return transform(waveform, sampling_rate)


def mask_features(
    hidden_states: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    *,
    time_masks: int = 2,
    time_width: int = 20,
    channel_masks: int = 2,
    channel_width: int = 32,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Set random ranges of frames and of channels to zero, independently in each clip.

    These are SpecAugment's time and frequency masks (Park et al. 2019, arXiv 1904.08779, section 2) on encoder
    features. Width (from 0 to the maximum) and position are uniform. All time masks together cover at most half of a
    clip, all channel masks at most half of the channels.

    Args:
        hidden_states: `(batch_size, num_frames, hidden_size)`.
        attention_mask: `(batch_size, num_frames)`, non-zero at frames that are not padding; `None` means all frames.
        time_masks, time_width: number of time masks, and their maximum width in frames.
        channel_masks, channel_width: number of channel masks, and their maximum width in channels.
        generator: random generator on any device; `None` uses torch's global one.

    Returns:
        A new tensor of the same shape, dtype and device. Time masks do not change padding.

    Raises:
        ValueError: the shapes do not match.
    """
    batch_size, num_frames, hidden_size = hidden_states.shape
    device = hidden_states.device
    if attention_mask is None:
        attention_mask = torch.ones(batch_size, num_frames, device=device)
    if attention_mask.shape != (batch_size, num_frames):
        raise ValueError(
            f"attention_mask has shape {tuple(attention_mask.shape)}; pass ({batch_size}, {num_frames}), "
            "the first two axes of hidden_states"
        )
    valid = attention_mask.bool()
    position = valid.cumsum(1) - 1  # from the clip's first frame, so that padding may be on either side
    frames = _random_ranges(position, valid.sum(1), time_masks, time_width, generator) & valid
    channel = torch.arange(hidden_size, device=device).expand(batch_size, -1)
    sizes = torch.full((batch_size,), hidden_size, device=device)
    channels = _random_ranges(channel, sizes, channel_masks, channel_width, generator)
    return hidden_states.masked_fill(frames[:, :, None] | channels[:, None, :], 0)


def _random_ranges(
    position: torch.Tensor, length: torch.Tensor, count: int, width: int, generator: torch.Generator | None
) -> torch.Tensor:
    """Mark `count` random ranges, as bool with the shape of `position` `(batch_size, size)`."""
    device = generator.device if generator is not None else position.device
    chance = torch.rand(2, len(position), count, generator=generator, device=device).to(position.device)
    length = length[:, None]
    widest = (length // (2 * max(1, count))).clamp(max=width)
    widths = (chance[0] * (widest + 1)).long()
    starts = (chance[1] * (length - widths + 1)).long()
    position = position[:, None, :]
    return ((position >= starts[:, :, None]) & (position < (starts + widths)[:, :, None])).any(1)
