# SPDX-License-Identifier: Apache-2.0
"""Prosody, measured.

Measured are the voiced stretch (hence the rate), F0 level, range and contour, energy level and contour, the long-term
spectrum and the roughness of the voice. F0 is tracked by Praat's autocorrelation (Boersma, "Accurate short-term
analysis of the fundamental frequency and the harmonics-to-noise ratio of a sampled sound", IFA Proceedings 17, 1993),
through praat-parselmouth (GPL-3.0, the extras `m5ser` and `demo`).
"""

from dataclasses import dataclass

import numpy as np


POINTS = 100
"""Places at which a contour is kept, evenly over the voiced stretch."""
SLOW_TERMS = 5
"""Cosines that make the slow part of a contour: the course of the phrase, without its syllables."""
FRAME_SECONDS = 0.01
MIN_VOICED_SECONDS = 0.1
BEAT_HERTZ = (25.0, 55.0)
"""Where the envelope of a creaky voice beats: above the syllables, below F0."""
BAND_HERTZ = 300.0 * 2.0 ** (np.arange(15) / 3)
"""Bands of a third of an octave, from above most F0 to what 16 kHz holds."""

_PLACES = (np.arange(POINTS) + 0.5) / POINTS
_COSINES = np.cos(np.pi * np.outer(np.arange(SLOW_TERMS), _PLACES))
_COSINES /= np.linalg.norm(_COSINES, axis=1, keepdims=True)


class ProsodyError(ValueError):
    """A clip has no voice to measure."""


@dataclass(frozen=True)
class Prosody:
    """How a clip is spoken."""

    start: float
    """Seconds at which the voice begins."""
    end: float
    """Seconds at which it ends."""
    pitch: float
    """Median F0, in semitones above 1 Hz."""
    pitch_range: float
    """Distance of the 10th from the 90th percentile of F0, in semitones."""
    contour: np.ndarray
    """(POINTS,) F0 in semitones from the median, over the voiced stretch; interpolated where unvoiced."""
    level: float
    """Power of the voiced stretch, in dB of full scale, background noise taken off."""
    energy: np.ndarray
    """(POINTS,) power in dB from `level`, over the voiced stretch."""
    spectrum: np.ndarray
    """(bands,) long-term spectrum in dB at `BAND_HERTZ`, less `level`; NaN where noise covers it."""
    roughness: float
    """Beating of the envelope, root mean square, as a fraction of the envelope."""
    beat: float
    """Its frequency, in Hz."""
    background: np.ndarray
    """(frequencies,) power spectral density of the background noise, from 0 to half the sampling rate."""

    @property
    def seconds(self) -> float:
        """Length of the voiced stretch."""
        return self.end - self.start


def measure(waveform: np.ndarray, sampling_rate: int, *, pitch_floor: float, pitch_ceiling: float) -> Prosody:
    """Measure how a clip is spoken.

    Args:
        waveform: float array (samples,), mono.
        sampling_rate: in Hz, 16000 or more.
        pitch_floor: lowest F0 that is looked for, in Hz.
        pitch_ceiling: highest.

    Raises:
        ProsodyError: less than 0.1 s of the clip is voiced.
    """
    times, hertz = track_pitch(waveform, sampling_rate, pitch_floor=pitch_floor, pitch_ceiling=pitch_ceiling)
    voiced = hertz > 0
    if voiced.sum() * FRAME_SECONDS < MIN_VOICED_SECONDS:
        raise ProsodyError(f"only {voiced.sum() * FRAME_SECONDS:.2f} s of the clip are voiced")
    semitones = 12 * np.log2(hertz[voiced])
    pitch = float(np.median(semitones))
    low, high = np.percentile(semitones, [10, 90])
    start, end = (float(times[voiced][i]) for i in (0, -1))
    places = start + (end - start) * _PLACES

    moments, power = _power(waveform, sampling_rate)
    total = power.sum(1)
    # The quietest tenth of the frames is background, be it before, after or between the words.
    background = power[total <= np.percentile(total, 10)].mean(0)
    speech = power[(moments >= start) & (moments <= end)].mean(0) - background
    level = 10 * np.log10(max(speech.sum(), 1e-12))
    # Held 40 dB below the mean, so that a pause is not a cliff.
    course = 10 * np.log10(np.maximum(total - background.sum(), 1e-4 * 10 ** (level / 10)))
    roughness, beat = roughness_of(waveform[int(start * sampling_rate) : int(end * sampling_rate)], sampling_rate)
    return Prosody(
        start=start,
        end=end,
        pitch=pitch,
        pitch_range=float(high - low),
        contour=np.interp(places, times[voiced], semitones - pitch),
        level=float(level),
        energy=np.interp(places, moments, course) - level,
        spectrum=_bands(speech, background, sampling_rate) - level,
        roughness=roughness,
        beat=beat,
        background=background,
    )


def slow(contour: np.ndarray) -> np.ndarray:
    """The slow part of a contour (POINTS,): its first cosines."""
    return _COSINES.T @ (_COSINES @ contour)


def spread(contour: np.ndarray) -> float:
    """How far the fast part of a contour (POINTS,) moves, in its own unit: the syllables' accents or tones."""
    return float(np.std(contour - slow(contour)))


def track_pitch(
    waveform: np.ndarray, sampling_rate: int, *, pitch_floor: float, pitch_ceiling: float
) -> tuple[np.ndarray, np.ndarray]:
    """F0 every 10 ms: times in seconds, and Hz, 0 where unvoiced. Voiced stretches under 30 ms are taken for noise."""
    import parselmouth

    track = parselmouth.Sound(np.asarray(waveform, dtype=np.float64), sampling_rate).to_pitch_ac(
        time_step=FRAME_SECONDS,
        pitch_floor=pitch_floor,
        pitch_ceiling=pitch_ceiling,
        silence_threshold=0.06,
        octave_cost=0.02,
    )
    hertz = track.selected_array["frequency"].copy()
    edges = np.flatnonzero(np.diff(np.concatenate([[0], hertz > 0, [0]])))
    for first, last in edges.reshape(-1, 2):
        if last - first < 3:
            hertz[first:last] = 0
    return track.xs(), hertz


def spectrum_of(speech: np.ndarray, sampling_rate: int) -> np.ndarray:
    """The long-term spectrum (bands,) of speech without noise, as in [`Prosody`]."""
    mean = _power(speech, sampling_rate)[1].mean(0)
    return _bands(mean, np.zeros_like(mean), sampling_rate) - 10 * np.log10(mean.sum())


def _power(waveform: np.ndarray, sampling_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Times in seconds and power spectra (frames, frequencies); a spectrum's sum is the frame's mean square."""
    size = int(0.03 * sampling_rate)
    window = np.hanning(size)
    padded = np.pad(waveform, size // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[:: int(FRAME_SECONDS * sampling_rate)]
    length = 1 << (size - 1).bit_length()
    power = 2 * np.abs(np.fft.rfft(frames * window, length)) ** 2 / (length * np.sum(window**2))
    return np.arange(len(power)) * FRAME_SECONDS, power


def _bands(speech: np.ndarray, background: np.ndarray, sampling_rate: int) -> np.ndarray:
    frequencies = np.linspace(0, sampling_rate / 2, len(speech))
    spectrum = np.full(len(BAND_HERTZ), np.nan)
    for i, centre in enumerate(BAND_HERTZ):
        inside = (frequencies >= centre * 2 ** (-1 / 6)) & (frequencies < centre * 2 ** (1 / 6))
        power = speech[inside].mean()
        # Below the background's own power the difference of the two is chance.
        if power > max(background[inside].mean(), 1e-14):
            # Per Hz, so that two sampling rates can be compared.
            spectrum[i] = 10 * np.log10(power / frequencies[1])
    return spectrum


def roughness_of(waveform: np.ndarray, sampling_rate: int) -> tuple[float, float]:
    envelope = np.abs(waveform)
    spectrum = np.fft.rfft(envelope)
    frequencies = np.fft.rfftfreq(len(envelope), 1 / sampling_rate)
    beating = np.abs(spectrum) ** 2 * ((frequencies >= BEAT_HERTZ[0]) & (frequencies <= BEAT_HERTZ[1]))
    if not beating.any():
        return 0.0, float(np.mean(BEAT_HERTZ))
    depth = np.sqrt(2 * beating.sum()) / np.sum(envelope)
    return float(depth), float(np.sum(beating * frequencies) / beating.sum())
