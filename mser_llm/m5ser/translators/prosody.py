# SPDX-License-Identifier: Apache-2.0
"""Measure prosody.

The measures are the voiced stretch (hence the rate), F0 level, range and contour, energy level and contour, the
long-term spectrum and the roughness of the voice. F0 is tracked by Praat's autocorrelation (Boersma, "Accurate
short-term analysis of the fundamental frequency and the harmonics-to-noise ratio of a sampled sound", IFA Proceedings
17, 1993), through praat-parselmouth (GPL-3.0, the extras `m5ser` and `demo`).
"""

from dataclasses import dataclass

import numpy as np


POINTS = 100
"""Points of a contour, at even steps over the voiced stretch."""
SLOW_TERMS = 5
"""Cosines of the slow part of a contour: the phrase, without its syllables."""
FRAME_SECONDS = 0.01
MIN_VOICED_SECONDS = 0.1
BEAT_HERTZ = (25.0, 55.0)
"""Modulation frequencies of a creaky voice: above the syllables, below F0."""
BAND_HERTZ = 300.0 * 2.0 ** (np.arange(15) / 3)
"""Centers of third-octave bands, from above most F0 to the limit of 16 kHz audio."""

_POSITIONS = (np.arange(POINTS) + 0.5) / POINTS
_COSINES = np.cos(np.pi * np.outer(np.arange(SLOW_TERMS), _POSITIONS))
_COSINES /= np.linalg.norm(_COSINES, axis=1, keepdims=True)


class ProsodyError(ValueError):
    """A clip has too little voiced speech."""


@dataclass(frozen=True)
class Prosody:
    """How a clip is spoken."""

    start: float
    """Seconds of the first voiced frame."""
    end: float
    """Seconds of the last voiced frame."""
    pitch: float
    """Median F0, in semitones above 1 Hz."""
    pitch_range: float
    """From the 10th to the 90th percentile of F0, in semitones."""
    contour: np.ndarray
    """(POINTS,) F0 in semitones from the median, over the voiced stretch; interpolated where unvoiced."""
    level: float
    """Power of the voiced stretch, in dB of full scale, minus background noise."""
    energy: np.ndarray
    """(POINTS,) power in dB from `level`, over the voiced stretch."""
    spectrum: np.ndarray
    """(bands,) long-term spectrum in dB at `BAND_HERTZ`, relative to `level`; NaN if masked by noise."""
    roughness: float
    """Modulation of the envelope, root mean square, as a fraction of the envelope."""
    beat: float
    """Frequency of the modulation, in Hz."""
    background: np.ndarray
    """(frequencies,) power spectral density of the background noise, from 0 to half the sampling rate."""

    @property
    def seconds(self) -> float:
        """Length of the voiced stretch."""
        return self.end - self.start


def measure(waveform: np.ndarray, sampling_rate: int, *, pitch_floor: float, pitch_ceiling: float) -> Prosody:
    """Measure the prosody of a clip.

    Args:
        waveform: float array (samples,), mono.
        sampling_rate: in Hz, 16000 or more.
        pitch_floor: minimum F0, in Hz.
        pitch_ceiling: maximum F0, in Hz.

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
    positions = start + (end - start) * _POSITIONS

    moments, power = _power(waveform, sampling_rate)
    total = power.sum(1)
    # The quietest tenth of the frames is background.
    background = power[total <= np.percentile(total, 10)].mean(0)
    speech = power[(moments >= start) & (moments <= end)].mean(0) - background
    level = 10 * np.log10(max(speech.sum(), 1e-12))
    # Limited to 40 dB below the mean, so that pauses are not steps.
    energy = 10 * np.log10(np.maximum(total - background.sum(), 1e-4 * 10 ** (level / 10)))
    roughness, beat = roughness_of(waveform[int(start * sampling_rate) : int(end * sampling_rate)], sampling_rate)
    return Prosody(
        start=start,
        end=end,
        pitch=pitch,
        pitch_range=float(high - low),
        contour=np.interp(positions, times[voiced], semitones - pitch),
        level=float(level),
        energy=np.interp(positions, moments, energy) - level,
        spectrum=_bands(speech, background, sampling_rate) - level,
        roughness=roughness,
        beat=beat,
        background=background,
    )


def slow(contour: np.ndarray) -> np.ndarray:
    """Return the slow part of a contour (POINTS,): its first cosines."""
    return _COSINES.T @ (_COSINES @ contour)


def spread(contour: np.ndarray) -> float:
    """Return the standard deviation of the fast part of a contour (POINTS,): the syllables' accents or tones."""
    return float(np.std(contour - slow(contour)))


def track_pitch(
    waveform: np.ndarray, sampling_rate: int, *, pitch_floor: float, pitch_ceiling: float
) -> tuple[np.ndarray, np.ndarray]:
    """Track F0 every 10 ms: times in seconds, and Hz, 0 if unvoiced. Voiced stretches below 30 ms count as noise."""
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
    """Return the long-term spectrum (bands,) of speech without noise, as in [`Prosody`]."""
    mean = _power(speech, sampling_rate)[1].mean(0)
    return _bands(mean, np.zeros_like(mean), sampling_rate) - 10 * np.log10(mean.sum())


def _power(waveform: np.ndarray, sampling_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Return times in seconds and power spectra (frames, frequencies), each summing to the frame's mean square."""
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
    for i, center in enumerate(BAND_HERTZ):
        inside = (frequencies >= center * 2 ** (-1 / 6)) & (frequencies < center * 2 ** (1 / 6))
        power = speech[inside].mean()
        # Below the power of the background the difference is noise.
        if power > max(background[inside].mean(), 1e-14):
            # Per Hz, so that sampling rates are comparable.
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
