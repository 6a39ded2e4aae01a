# SPDX-License-Identifier: Apache-2.0
"""Perturbations of time: speed, truncation, and joining two halves of clips."""

import numpy as np
import soxr

from mser_llm.evaluation.robustness.noise import rms
from processing_mser.audio_mser import SAMPLING_RATE


_FADE_SECONDS = 0.01


def change_speed(waveform: np.ndarray, factor: float) -> np.ndarray:
    """Change tempo and pitch by a factor (Ko et al. 2015, Sec. 2.3)."""
    return soxr.resample(waveform.astype(np.float64), SAMPLING_RATE * factor, SAMPLING_RATE)


def truncate(waveform: np.ndarray, seconds: float) -> np.ndarray:
    """Keep the beginning of a clip."""
    return waveform[: int(seconds * SAMPLING_RATE)]


def join(waveform: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Join the first half of a clip to the second half of another at the same RMS level, with a 10 ms crossfade."""
    fade = min(int(_FADE_SECONDS * SAMPLING_RATE), len(waveform) // 2, len(other) // 2)
    first, second = waveform[: len(waveform) // 2 + fade].astype(np.float64), other[len(other) // 2 :]
    second = second * (rms(waveform) / max(rms(other), 1e-12))
    rise = np.linspace(0.0, 1.0, fade)
    seam = first[len(first) - fade :] * (1 - rise) + second[:fade] * rise
    return np.concatenate([first[: len(first) - fade], seam, second[fade:]])
