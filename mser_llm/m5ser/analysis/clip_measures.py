# SPDX-License-Identifier: Apache-2.0
"""Measure one clip: its mean spectrum, and its prosody with Praat."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from transformers.audio_utils import mel_filter_bank

from processing_mser.audio_mser import SAMPLING_RATE


MEASURES_VERSION = 1
"""Incremented whenever a measure changes: cached measures of another version are not used."""
MEL_BANDS = 80
CONTOUR_POINTS = 40
SCALARS = ("seconds", "f0_median", "f0_range", "energy", "rate", "tilt")

_FRAME, _HOP = 400, 160
_FLOOR = 1e-13
# Frames this far below the clip's loud ones are pauses.
_PAUSE_DECIBELS = 35.0
_MIN_VOICED = 8
# Minimum height of a vowel's peak above the dips around it (de Jong and Wempe's value).
_SYLLABLE_DIP = 2.0
# Maximum distance of a vowel's peak below the clip's loud frames.
_SYLLABLE_FLOOR = 25.0


@dataclass(frozen=True)
class ClipMeasures:
    """The acoustics of one clip.

    Attributes:
        scalars: `(len(SCALARS),)` float32. `seconds`: duration without the silence before and after the speech;
            `f0_median`: semitones above 100 Hz; `f0_range`: semitones from the 5th to the 95th percentile; `energy`:
            dB of full scale, without pauses; `rate`: syllables (vowel peaks) per second of `seconds`; `tilt`: dB per
            octave of the mean power between 200 Hz and 5 kHz. F0 is NaN with too little voiced speech.
        spectrum: `(MEL_BANDS,)` float32, the mean log-mel spectrum in dB, without pauses.
        contour: `(CONTOUR_POINTS,)` float32, F0 in semitones at even steps from the first to the last voiced frame,
            interpolated linearly where unvoiced; NaN with too little voiced speech.
    """

    scalars: np.ndarray
    spectrum: np.ndarray
    contour: np.ndarray


def measure_clip(waveform: np.ndarray) -> ClipMeasures:
    """Measure a float waveform `(num_samples,)`, 16 kHz mono. Raises an ImportError without Praat."""
    power = _power_frames(np.asarray(waveform, dtype=np.float64))
    loudness = 10 * np.log10(power.sum(axis=1) + _FLOOR)
    spoken = loudness >= np.percentile(loudness, 95) - _PAUSE_DECIBELS
    bands = power[spoken] @ _mel_filters()
    spectrum = (10 * np.log10(bands + _FLOOR)).mean(axis=0)
    first, last = np.flatnonzero(spoken)[[0, -1]]
    seconds = (last - first + 1) * _HOP / SAMPLING_RATE
    energy = 10 * np.log10(np.mean(10 ** (loudness[spoken] / 10)))
    f0, contour = _pitch(waveform)
    scalars = np.array(
        [seconds, *f0, energy, _syllables(loudness) / seconds, _tilt(bands.mean(axis=0))], dtype=np.float32
    )
    return ClipMeasures(scalars, spectrum.astype(np.float32), contour.astype(np.float32))


def _power_frames(waveform: np.ndarray) -> np.ndarray:
    """Return power spectra `(num_frames, 201)`; each sums to the mean square, so a full-scale sine has -3 dB."""
    padded = np.pad(waveform, (0, max(0, _FRAME - len(waveform))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FRAME)[::_HOP]
    window = np.hanning(_FRAME + 1)[:-1]
    power = np.abs(np.fft.rfft(frames * window, axis=1)) ** 2 / (_FRAME * (window**2).sum())
    # All bins except the first and the last represent a positive and a negative frequency.
    power[:, 1:-1] *= 2
    return power


@cache
def _mel_filters() -> np.ndarray:
    return mel_filter_bank(_FRAME // 2 + 1, MEL_BANDS, 0.0, SAMPLING_RATE / 2, SAMPLING_RATE, mel_scale="htk")


@cache
def _octaves() -> tuple[np.ndarray, np.ndarray]:
    """Return the band centers in octaves above 200 Hz, and which of them determine the slope."""
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + SAMPLING_RATE / 1400), MEL_BANDS + 2) / 2595) - 1)
    octaves = np.log2(edges[1:-1] / 200)
    return octaves, (octaves >= 0) & (octaves <= np.log2(25))


def _tilt(bands: np.ndarray) -> float:
    """Return the slope of the bands' mean power. Averaged before the logarithm, which varies more in narrow bands."""
    octaves, used = _octaves()
    # A band twice as wide has twice the power at equal density.
    density = 10 * np.log10(bands / _mel_filters().sum(axis=0) + _FLOOR)
    return float(np.polyfit(octaves[used], density[used], 1)[0])


def _pitch(waveform: np.ndarray) -> tuple[tuple[float, float], np.ndarray]:
    """Return (median, range) in semitones, and the contour.

    F0 is tracked twice, the second time within bounds from the speaker's own F0 (De Looze and Hirst 2008), so that the
    first bounds suit men and children.
    """
    try:
        from parselmouth import Sound
    except ImportError:
        raise ImportError("measuring F0 needs praat-parselmouth; pip install 'mser-llm[m5ser]'") from None
    sound = Sound(np.asarray(waveform, dtype=np.float64), SAMPLING_RATE)
    unvoiced = (np.nan, np.nan), np.full(CONTOUR_POINTS, np.nan)
    # Praat's window is three periods of the lower bound.
    if sound.duration < 3 / 60:
        return unvoiced
    frequency = sound.to_pitch(time_step=0.01, pitch_floor=60.0, pitch_ceiling=700.0).selected_array["frequency"]
    voiced = frequency > 0
    if voiced.sum() < _MIN_VOICED:
        return unvoiced
    low, high = np.percentile(frequency[voiced], [25, 75])
    floor = max(50.0, 0.75 * low)
    pitch = sound.to_pitch(time_step=0.01, pitch_floor=floor, pitch_ceiling=min(1000.0, 2.5 * high))
    frequency = pitch.selected_array["frequency"]
    (where,) = np.nonzero(frequency > 0)
    if len(where) < _MIN_VOICED:
        return unvoiced
    semitones = 12 * np.log2(frequency[where] / 100)
    fifth, median, last = np.percentile(semitones, [5, 50, 95])
    contour = np.interp(np.linspace(where[0], where[-1], CONTOUR_POINTS), where, semitones)
    return (float(median), float(last - fifth)), contour


def _syllables(loudness: np.ndarray) -> int:
    """Count loudness peaks with a dip on either side, after de Jong and Wempe (2009), without their voicing test."""
    smooth = np.convolve(np.pad(loudness, 2, mode="edge"), np.full(5, 0.2), mode="valid")
    floor = np.percentile(smooth, 95) - _SYLLABLE_FLOOR
    count, peak, valley, rising = 0, -np.inf, smooth[0], True
    for value in smooth:
        if rising:
            peak = max(peak, value)
            if value < peak - _SYLLABLE_DIP:
                count += peak > floor and peak > valley + _SYLLABLE_DIP
                rising, valley = False, value
        else:
            valley = min(valley, value)
            if value > valley + _SYLLABLE_DIP:
                rising, peak = True, value
    # Speech cut off at its loudest ends on a peak.
    return max(1, count + int(rising and peak > floor and peak > valley + _SYLLABLE_DIP))
