# SPDX-License-Identifier: Apache-2.0
"""What changes a clip's time: speed, truncation, and joining half of it to another clip."""

import numpy as np
import soxr

from mser_llm.evaluation.robustness.noise import rms
from processing_mser.audio_mser import SAMPLING_RATE


_FADE_SECONDS = 0.01


def change_speed(waveform: np.ndarray, factor: float) -> np.ndarray:
    """Played `factor` times as fast, which moves tempo and pitch together (Ko et al. 2015, Sec. 2.3)."""
    return soxr.resample(waveform.astype(np.float64), SAMPLING_RATE * factor, SAMPLING_RATE)


def truncate(waveform: np.ndarray, seconds: float) -> np.ndarray:
    """The beginning of a clip; a shorter one is left as it is."""
    return waveform[: int(seconds * SAMPLING_RATE)]


def join(waveform: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The first half of a clip, and the second half of another, as loud, across a fade of 10 ms."""
    fade = min(int(_FADE_SECONDS * SAMPLING_RATE), len(waveform) // 2, len(other) // 2)
    first, second = waveform[: len(waveform) // 2 + fade].astype(np.float64), other[len(other) // 2 :]
    second = second * (rms(waveform) / max(rms(other), 1e-12))
    rise = np.linspace(0.0, 1.0, fade)
    seam = first[len(first) - fade :] * (1 - rise) + second[:fade] * rise
    return np.concatenate([first[: len(first) - fade], seam, second[fade:]])
