# SPDX-License-Identifier: Apache-2.0
"""What is measured on one clip: its mean spectrum, and its prosody as Praat hears it."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from transformers.audio_utils import mel_filter_bank

from processing_mser.audio_mser import SAMPLING_RATE


MEASURES_VERSION = 1
"""Raised whenever a number below comes out otherwise: measurements of another version are not taken from the cache."""
MEL_BANDS = 80
CONTOUR_POINTS = 40
SCALARS = ("seconds", "f0_median", "f0_range", "energy", "rate", "tilt")

_FRAME, _HOP = 400, 160
_FLOOR = 1e-13
# Frames more than this below the clip's loud ones are pauses.
_PAUSE_DECIBELS = 35.0
_FEWEST_VOICED = 8
# The vowel of a syllable lies above the dips beside it by so much (de Jong and Wempe's value).
_SYLLABLE_DIP = 2.0
# And at most so far below the clip's loud frames.
_SYLLABLE_FLOOR = 25.0


@dataclass(frozen=True)
class ClipMeasures:
    """The acoustics of one clip.

    Attributes:
        scalars: `(len(SCALARS),)` float32. `seconds`: length without the silence before and after the speech;
            `f0_median`: semitones above 100 Hz; `f0_range`: semitones from the 5th to the 95th percentile; `energy`:
            dB of full scale, pauses left out; `rate`: syllables (vowel peaks) per second of `seconds`; `tilt`: dB per
            octave of the mean power between 200 Hz and 5 kHz. The two of F0 are NaN where too little is voiced.
        spectrum: `(MEL_BANDS,)` float32, the mean log-mel spectrum in dB, pauses left out.
        contour: `(CONTOUR_POINTS,)` float32, F0 in semitones from the first to the last voiced frame on even steps,
            straight lines across what is unvoiced; NaN where too little is voiced.
    """

    scalars: np.ndarray
    spectrum: np.ndarray
    contour: np.ndarray


def measure_clip(waveform: np.ndarray) -> ClipMeasures:
    """Measures one clip.

    Args:
        waveform: float array `(num_samples,)`, 16 kHz mono, as `load_audio` returns it.

    Raises:
        ImportError: Praat (the extra `m5ser`) is not installed.
    """
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
    """Power spectra `(num_frames, 201)`; a frame sums up to its mean square, so that a full-scale sine has -3 dB."""
    padded = np.pad(waveform, (0, max(0, _FRAME - len(waveform))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FRAME)[::_HOP]
    window = np.hanning(_FRAME + 1)[:-1]
    power = np.abs(np.fft.rfft(frames * window, axis=1)) ** 2 / (_FRAME * (window**2).sum())
    # All bins but the first and the last stand for two frequencies, the positive and the negative.
    power[:, 1:-1] *= 2
    return power


@cache
def _mel_filters() -> np.ndarray:
    return mel_filter_bank(_FRAME // 2 + 1, MEL_BANDS, 0.0, SAMPLING_RATE / 2, SAMPLING_RATE, mel_scale="htk")


@cache
def _octaves() -> tuple[np.ndarray, np.ndarray]:
    """Each band's centre in octaves above 200 Hz, and which of them the slope is taken from."""
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + SAMPLING_RATE / 1400), MEL_BANDS + 2) / 2595) - 1)
    octaves = np.log2(edges[1:-1] / 200)
    return octaves, (octaves >= 0) & (octaves <= np.log2(25))


def _tilt(bands: np.ndarray) -> float:
    """Slope of the mean power of the bands; its logarithm is taken last, for that of a narrow band varies more."""
    octaves, used = _octaves()
    # A band twice as wide holds twice the power of the same density.
    density = 10 * np.log10(bands / _mel_filters().sum(axis=0) + _FLOOR)
    return float(np.polyfit(octaves[used], density[used], 1)[0])


def _pitch(waveform: np.ndarray) -> tuple[tuple[float, float], np.ndarray]:
    """(median, range) in semitones, and the contour.

    Twice over, the second time within bounds that the speaker's own voice gives (De Looze and Hirst 2008), so that one
    pair of bounds serves a man and a child.
    """
    try:
        from parselmouth import Sound
    except ImportError:
        raise ImportError("F0 is measured by Praat, which is not installed; pip install 'mser-llm[m5ser]'") from None
    sound = Sound(np.asarray(waveform, dtype=np.float64), SAMPLING_RATE)
    nothing = (np.nan, np.nan), np.full(CONTOUR_POINTS, np.nan)
    # Praat's window is three periods of the floor.
    if sound.duration < 3 / 60:
        return nothing
    frequency = sound.to_pitch(time_step=0.01, pitch_floor=60.0, pitch_ceiling=700.0).selected_array["frequency"]
    voiced = frequency > 0
    if voiced.sum() < _FEWEST_VOICED:
        return nothing
    low, high = np.percentile(frequency[voiced], [25, 75])
    floor = max(50.0, 0.75 * low)
    pitch = sound.to_pitch(time_step=0.01, pitch_floor=floor, pitch_ceiling=min(1000.0, 2.5 * high))
    frequency = pitch.selected_array["frequency"]
    (where,) = np.nonzero(frequency > 0)
    if len(where) < _FEWEST_VOICED:
        return nothing
    semitones = 12 * np.log2(frequency[where] / 100)
    fifth, median, last = np.percentile(semitones, [5, 50, 95])
    contour = np.interp(np.linspace(where[0], where[-1], CONTOUR_POINTS), where, semitones)
    return (float(median), float(last - fifth)), contour


def _syllables(loudness: np.ndarray) -> int:
    """Peaks of the loudness with a dip on either side, after de Jong and Wempe (2009), voicing not looked at.

    Args:
        loudness: `(num_frames,)` in dB, 100 frames a second.
    """
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
    # Speech that is cut off at its loudest ends on a peak.
    return max(1, count + int(rising and peak > floor and peak > valley + _SYLLABLE_DIP))
