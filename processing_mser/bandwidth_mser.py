# SPDX-License-Identifier: Apache-2.0
"""Measure the bandwidth of a recording.

Speech sampled at 8 kHz, as on a telephone, has no sound above 4 kHz, whatever the rate of its file. A model that was
trained on wide-band speech is less reliable on it.
"""

import numpy as np


NARROW_HERTZ = 4000.0
"""Maximum bandwidth of a narrow-band recording."""
BANDS = 64
"""Number of bands of equal width from 0 Hz to half of the sampling rate: 125 Hz each at 16 kHz."""

_FRAME, _HOP = 8 * BANDS, 4 * BANDS
_FLOOR = 1e-6  # 60 dB below the strongest band


def band_powers(waveform: np.ndarray) -> np.ndarray:
    """Compute the energy in each band, `(BANDS,)` float64. The energies of several windows may be added."""
    padded = np.pad(waveform, (0, max(0, _FRAME - len(waveform))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FRAME)[::_HOP]
    window = np.hanning(_FRAME).astype(np.float32)
    powers = np.zeros(_FRAME // 2 + 1)
    for start in range(0, len(frames), 1024):
        powers += (np.abs(np.fft.rfft(frames[start : start + 1024] * window)) ** 2).sum(axis=0)
    return powers[1:].reshape(BANDS, -1).sum(axis=1)


def effective_bandwidth(powers: np.ndarray, sampling_rate: int) -> float:
    """Find the frequency in Hz above which every band is more than 60 dB below the strongest."""
    highest = int(np.flatnonzero(powers >= _FLOOR * powers.max())[-1])
    return (highest + 1) * sampling_rate / 2 / BANDS


def narrow_bandwidth(powers: np.ndarray, sampling_rate: int) -> float | None:
    """Return the effective bandwidth in Hz if the recording is narrow-band, else `None`."""
    hertz = effective_bandwidth(powers, sampling_rate)
    return hertz if hertz <= NARROW_HERTZ else None
