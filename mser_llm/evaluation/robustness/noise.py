# SPDX-License-Identifier: Apache-2.0
"""What is added to speech: white noise, babble, another speaker, a room."""

from collections.abc import Sequence

import numpy as np
from scipy.signal import fftconvolve

from processing_mser.audio_mser import SAMPLING_RATE


REVERBERATION_SECONDS = 0.6
# Reflections begin here; what is earlier belongs to the direct path (as in the ACE challenge, Eaton et al. 2016).
_DIRECT_SECONDS = 0.0025


def rms(waveform: np.ndarray) -> float:
    """Root of the mean square."""
    return float(np.sqrt(np.mean(np.square(waveform, dtype=np.float64))))


def mix(waveform: np.ndarray, noise: np.ndarray, decibels: float) -> np.ndarray:
    """Speech with noise, both `(num_samples,)`, at a ratio of mean powers over the whole clip."""
    level = rms(noise)
    if not level:
        return waveform
    return waveform + noise * (rms(waveform) / level * 10 ** (-decibels / 20))


def white(waveform: np.ndarray, decibels: float, chance: np.random.Generator) -> np.ndarray:
    """White Gaussian noise at a signal-to-noise ratio."""
    return mix(waveform, chance.standard_normal(len(waveform)), decibels)


def babble(
    waveform: np.ndarray, decibels: float, chance: np.random.Generator, voices: Sequence[np.ndarray]
) -> np.ndarray:
    """Several voices talking at once, each equally loud, together at a signal-to-noise ratio."""
    noise = np.zeros(len(waveform))
    for voice in voices:
        noise += _as_long(voice, len(waveform), chance) / max(rms(voice), 1e-12)
    return mix(waveform, noise, decibels)


def overlap(waveform: np.ndarray, decibels: float, chance: np.random.Generator, voice: np.ndarray) -> np.ndarray:
    """One other voice over the whole clip, at a ratio of the speaker to the other."""
    return mix(waveform, _as_long(voice, len(waveform), chance), decibels)


def reverberate(waveform: np.ndarray, decibels: float, chance: np.random.Generator) -> np.ndarray:
    """A room whose sound dies away by 60 dB in `REVERBERATION_SECONDS`, at a direct-to-reverberant ratio.

    The impulse response is Polack's model of a room: the direct path, and after it white Gaussian noise under an
    exponential envelope (Polack 1988; a talker further away has a lower ratio). The tail past the clip's end is cut
    off, and the clip keeps its loudness.
    """
    response = room_response(decibels, chance)
    wet = fftconvolve(waveform, response)[: len(waveform)]
    return wet * (rms(waveform) / max(rms(wet), 1e-12))


def room_response(decibels: float, chance: np.random.Generator) -> np.ndarray:
    """The impulse response of `reverberate`, `(num_samples,)` at 16 kHz, its direct path 1 and first."""
    times = np.arange(int(REVERBERATION_SECONDS * SAMPLING_RATE)) / SAMPLING_RATE
    tail = chance.standard_normal(len(times)) * 10 ** (-3 * times / REVERBERATION_SECONDS)
    tail[times < _DIRECT_SECONDS] = 0
    tail *= 10 ** (-decibels / 20) / np.sqrt(np.square(tail).sum())
    tail[0] = 1.0
    return tail


def _as_long(voice: np.ndarray, length: int, chance: np.random.Generator) -> np.ndarray:
    """A voice from a random place on, repeated as often as need be."""
    start = int(chance.integers(len(voice)))
    return np.resize(np.roll(voice, -start), length).astype(np.float64)
