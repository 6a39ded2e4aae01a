# SPDX-License-Identifier: Apache-2.0
"""Perturbations that add sound: white noise, babble, another speaker, reverberation."""

from collections.abc import Sequence

import numpy as np
from scipy.signal import fftconvolve

from processing_mser.audio_mser import SAMPLING_RATE


REVERBERATION_SECONDS = 0.6
# Reflections start here; earlier sound belongs to the direct path (ACE challenge, Eaton et al. 2016).
_DIRECT_SECONDS = 0.0025


def rms(waveform: np.ndarray) -> float:
    """Compute the root mean square."""
    return float(np.sqrt(np.mean(np.square(waveform, dtype=np.float64))))


def mix(waveform: np.ndarray, noise: np.ndarray, decibels: float) -> np.ndarray:
    """Add noise to speech, both `(num_samples,)`, at a ratio of mean powers over the complete clip."""
    level = rms(noise)
    if not level:
        return waveform
    return waveform + noise * (rms(waveform) / level * 10 ** (-decibels / 20))


def white(waveform: np.ndarray, decibels: float, rng: np.random.Generator) -> np.ndarray:
    """Add white Gaussian noise at a signal-to-noise ratio."""
    return mix(waveform, rng.standard_normal(len(waveform)), decibels)


def babble(
    waveform: np.ndarray, decibels: float, rng: np.random.Generator, speakers: Sequence[np.ndarray]
) -> np.ndarray:
    """Add several equally loud speakers at a joint signal-to-noise ratio."""
    noise = np.zeros(len(waveform))
    for speaker in speakers:
        noise += _fit_length(speaker, len(waveform), rng) / max(rms(speaker), 1e-12)
    return mix(waveform, noise, decibels)


def overlap(waveform: np.ndarray, decibels: float, rng: np.random.Generator, voice: np.ndarray) -> np.ndarray:
    """Add one other speaker over the complete clip at a speaker-to-other ratio."""
    return mix(waveform, _fit_length(voice, len(waveform), rng), decibels)


def reverberate(waveform: np.ndarray, decibels: float, rng: np.random.Generator) -> np.ndarray:
    """Add reverberation that decays by 60 dB in `REVERBERATION_SECONDS`, at a direct-to-reverberant ratio.

    The impulse response is Polack's model: the direct path followed by white Gaussian noise with an exponential
    envelope (Polack 1988; a more distant speaker has a lower ratio). The length and RMS level of the clip are kept.
    """
    response = room_response(decibels, rng)
    wet = fftconvolve(waveform, response)[: len(waveform)]
    return wet * (rms(waveform) / max(rms(wet), 1e-12))


def room_response(decibels: float, rng: np.random.Generator) -> np.ndarray:
    """Draw the impulse response of `reverberate`, `(num_samples,)` at 16 kHz, starting with the direct path of 1."""
    times = np.arange(int(REVERBERATION_SECONDS * SAMPLING_RATE)) / SAMPLING_RATE
    tail = rng.standard_normal(len(times)) * 10 ** (-3 * times / REVERBERATION_SECONDS)
    tail[times < _DIRECT_SECONDS] = 0
    tail *= 10 ** (-decibels / 20) / np.sqrt(np.square(tail).sum())
    tail[0] = 1.0
    return tail


def _fit_length(voice: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """Repeat a waveform to a length, starting at a random sample."""
    start = int(rng.integers(len(voice)))
    return np.resize(np.roll(voice, -start), length).astype(np.float64)
