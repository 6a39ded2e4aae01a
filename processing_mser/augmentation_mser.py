# SPDX-License-Identifier: Apache-2.0
"""More training speech from the same recordings: views of a waveform, and masks over features."""

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
    """Views of a recording: a little faster or slower, higher or lower, louder or softer, and with noise.

    A view is a function of the seed, the clip's id, the view's index and the ranges below, and of nothing else: the
    same in any order, process or thread, so that features of a view can be cached. For the same reason chance comes
    from a generator of the view's own and audiomentations, which draws from the global ones, is told exact amounts.
    Inverting the polarity is not among the changes: a log-mel spectrogram does not show it.

    Args:
        seed: another seed gives other views.
        time_rate: least and greatest speed; below 1 is slower.
        semitones: least and greatest shift of the pitch. Emotion is in the pitch: keep it small.
        gain_db: least and greatest gain.
        snr_db: least and greatest signal-to-noise ratio of the white Gaussian noise.
        probability: of each change, drawn apart.
        speed: least and greatest speed of a fifth change, playing faster or slower, pitch and all; `None` for none.

    Raises:
        ImportError: audiomentations, of the extra `augment`, is not installed.
        ValueError: a range whose first value is the greater, or a probability outside 0 to 1.
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
                raise ValueError(f"{name} is ({low}, {high}); give the lesser value first")
        if not 0 <= self.probability <= 1:
            raise ValueError(f"probability is {self.probability}; give a value from 0 to 1")

    @property
    def name(self) -> str:
        """Of all that decides a view beside the clip: the seed, and the settings where they are not the default."""
        if self == WaveformAugmenter(seed=self.seed):
            return str(self.seed)
        return f"{self.seed}-{hashlib.sha256(repr(self).encode()).hexdigest()[:8]}"

    def view(self, waveform: np.ndarray, clip_id: str, index: int, sampling_rate: int = SAMPLING_RATE) -> np.ndarray:
        """One view of a waveform `(num_samples,)` float32, as float32 of `MIN_SECONDS` to `MAX_SECONDS`.

        View 0 is the recording itself.
        """
        if index == 0:
            return waveform
        key = f"{self.seed}\0{clip_id}\0{index}".encode()
        chance = np.random.default_rng(int.from_bytes(hashlib.sha256(key).digest(), "big"))
        # All is drawn, used or not, so that one range does not move the others' draws.
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
            waveform = stretched[: int(MAX_SECONDS * sampling_rate)]  # a rounding's worth of samples at most
        if changes[1]:
            waveform = _applied(_audiomentations().PitchShift(), waveform, sampling_rate, num_semitones=semitones)
        if changes[2]:
            waveform = waveform * 10 ** (gain_db / 20)
        if changes[3]:
            loudness = math.sqrt(np.mean(np.square(waveform, dtype=np.float64)))
            noise = chance.standard_normal(len(waveform), dtype=np.float32)
            waveform = waveform + noise * (loudness * 10 ** (-snr_db / 20))
        return waveform.astype(np.float32)

    def views(
        self, waveform: np.ndarray, clip_id: str, count: int, sampling_rate: int = SAMPLING_RATE
    ) -> list[np.ndarray]:
        """Views 0 to `count` - 1, the first of them the recording itself."""
        return [self.view(waveform, clip_id, index, sampling_rate) for index in range(count)]


def low_resource_augmenter(seed: int = 0) -> WaveformAugmenter:
    """
    The changes of Gong et al. 2025, "Learning More with Less", Sec. 2.1, of which the paper gives the noise's range;
    the others' are ours: Gaussian noise of 10 to 20 dB, gain, speed, and a stretch of the spectrum, which shifting the
    pitch at an unchanged duration is.

    Inverting the polarity, which the paper has too, changes no log-mel spectrogram and is left out; SpecAugment is
    applied to the features in training.
    """
    return WaveformAugmenter(seed, time_rate=(1.0, 1.0), semitones=(-2.0, 2.0), snr_db=(10.0, 20.0), speed=(0.9, 1.1))


def _bounded(rate: float, seconds: float) -> float:
    """The rate, or the nearest one that leaves a clip of a length which the model accepts."""
    return min(max(rate, seconds / MAX_SECONDS), seconds / MIN_SECONDS)


def _audiomentations() -> ModuleType:
    """The library, imported with the first augmenter: most trainings have no views, and need not wait for it.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import audiomentations
    except ImportError as error:
        raise ImportError('augmenting waveforms needs audiomentations; pip install "mser-llm[augment]"') from error
    return audiomentations


def _applied(transform: Any, waveform: np.ndarray, sampling_rate: int, **amounts: float) -> np.ndarray:
    """An audiomentations transform by given amounts; frozen, it neither draws nor moves a global generator."""
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
    """Set random stretches of frames and of channels to zero, in each clip apart.

    SpecAugment's time and frequency masks (Park et al. 2019, arXiv 1904.08779, section 2) on an encoder's features: a
    mask's width is uniform from 0 to the given one, its place uniform among those where it fits. All time masks
    together cover at most half of a clip and all channel masks at most half of the channels, so that a short clip is
    never wiped out.

    Args:
        hidden_states: `(batch_size, num_frames, hidden_size)`.
        attention_mask: `(batch_size, num_frames)`, non-zero at a clip's own frames; None means all of them.
        time_masks, time_width: how many stretches of frames, and the widest in frames.
        channel_masks, channel_width: how many stretches of channels, and the widest in channels.
        generator: where chance comes from, on any device; None is torch's own.

    Returns:
        A new tensor of the same shape, dtype and device. Frames of padding keep their values under time masks.

    Raises:
        ValueError: the two shapes do not fit.
    """
    batch_size, num_frames, hidden_size = hidden_states.shape
    device = hidden_states.device
    if attention_mask is None:
        attention_mask = torch.ones(batch_size, num_frames, device=device)
    if attention_mask.shape != (batch_size, num_frames):
        raise ValueError(
            f"attention_mask has shape {tuple(attention_mask.shape)}; give ({batch_size}, {num_frames}), "
            "the first two axes of hidden_states"
        )
    valid = attention_mask.bool()
    place = valid.cumsum(1) - 1  # counted from a clip's first frame, so that padding may be on either side
    frames = _stretches(place, valid.sum(1), time_masks, time_width, generator) & valid
    channel = torch.arange(hidden_size, device=device).expand(batch_size, -1)
    sizes = torch.full((batch_size,), hidden_size, device=device)
    channels = _stretches(channel, sizes, channel_masks, channel_width, generator)
    return hidden_states.masked_fill(frames[:, :, None] | channels[:, None, :], 0)


def _stretches(
    place: torch.Tensor, length: torch.Tensor, count: int, width: int, generator: torch.Generator | None
) -> torch.Tensor:
    """Where `count` random stretches lie, as bool of the shape of `place` `(batch_size, size)`."""
    device = generator.device if generator is not None else place.device
    chance = torch.rand(2, len(place), count, generator=generator, device=device).to(place.device)
    length = length[:, None]
    widest = (length // (2 * max(1, count))).clamp(max=width)
    widths = (chance[0] * (widest + 1)).long()
    starts = (chance[1] * (length - widths + 1)).long()
    place = place[:, None, :]
    return ((place >= starts[:, :, None]) & (place < (starts + widths)[:, :, None])).any(1)
