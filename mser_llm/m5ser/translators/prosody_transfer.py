# SPDX-License-Identifier: Apache-2.0
"""Transfer prosody: measure how a clip differs from a neutral rendering, and apply the difference to other speech.

F0 and duration are changed with Praat's overlap-add (Moulines and Charpentier, "Pitch-synchronous waveform processing
techniques for text-to-speech synthesis using diphones", Speech Communication 9, 1990).

The difference is between the clip and the same sentence, spoken neutrally by the same voice. It removes the effects of
words, language and speaker, and leaves the manner of speaking.
"""

from dataclasses import dataclass

import numpy as np

from mser_llm.m5ser.translators.prosody import (
    BAND_HERTZ,
    POINTS,
    Prosody,
    roughness_of,
    slow,
    spectrum_of,
    spread,
    track_pitch,
)


PITCH_HERTZ = (50.0, 800.0)
"""Limits of F0."""
# Limits on the effect of a wrong measurement.
_MAX_STRETCH = 2.0
_MAX_ACCENTS = 2.5
_MAX_ENERGY_STEP = 6.0
_MAX_TILT = 6.0
_MAX_BEAT_DEPTH = 0.95
_MAX_BREATH = 0.3
# The slope of the voice is measured below 5 kHz; energy above the slope beyond 5 kHz is breath.
_OCTAVES = np.log2(BAND_HERTZ / BAND_HERTZ[0])
_BREATHY = BAND_HERTZ > 5000


@dataclass(frozen=True)
class Manner:
    """Difference of a clip from its neutral rendering; only the contour is the clip's own."""

    rate: float
    """Octaves: 1 is twice as fast."""
    pitch: float
    """Semitones of the median F0."""
    accents: float
    """Factor on the syllables' F0 movement."""
    contour: np.ndarray
    """(POINTS,) slow part of F0, in semitones from the clip's median."""
    level: float
    """dB."""
    energy: np.ndarray
    """(POINTS,) slow part of the difference in energy, in dB."""
    tilt: float
    """Slope of the long-term spectrum, in dB per octave."""
    breath: float
    """Power of aspiration noise per Hz, as a fraction of the voice's power."""
    roughness: float
    """Modulation of the envelope beyond the neutral rendering, root mean square, as a fraction of the envelope."""
    beat: float
    """Frequency of the modulation, in Hz."""


def manner_of(clip: Prosody, neutral: Prosody) -> Manner:
    """Return the difference of a clip from its neutral rendering."""
    energy = slow(clip.energy - neutral.energy)
    tilt = tilt_between(clip.spectrum, neutral.spectrum)
    # Above 5 kHz the voice follows the line through the bands below; the excess is breath.
    known = np.isfinite(clip.spectrum - neutral.spectrum)
    offset = np.median((clip.spectrum - neutral.spectrum - tilt * _OCTAVES)[known & ~_BREATHY]) if known.any() else 0.0
    expected = 10 ** ((neutral.spectrum + tilt * _OCTAVES + offset)[known & _BREATHY] / 10)
    excess = 10 ** (clip.spectrum[known & _BREATHY] / 10) - expected
    return Manner(
        rate=float(np.log2(neutral.seconds / clip.seconds)),
        pitch=clip.pitch - neutral.pitch,
        accents=min(spread(clip.contour) / max(spread(neutral.contour), 0.1), _MAX_ACCENTS),
        contour=slow(clip.contour),
        level=clip.level - neutral.level,
        energy=np.clip(energy - energy.mean(), -_MAX_ENERGY_STEP, _MAX_ENERGY_STEP),
        tilt=tilt,
        breath=float(np.median(excess)) if len(excess) else 0.0,
        roughness=float(np.sqrt(max(clip.roughness**2 - neutral.roughness**2, 0.0))),
        beat=clip.beat,
    )


def tilt_between(spectrum: np.ndarray, other: np.ndarray) -> float:
    """Return the difference in slope of two long-term spectra (bands,), in dB per octave below 5 kHz."""
    difference = spectrum - other
    known = np.isfinite(difference) & ~_BREATHY
    if known.sum() < 3:
        return 0.0
    return float(np.clip(np.polyfit(_OCTAVES[known], difference[known], 1)[0], -_MAX_TILT, _MAX_TILT))


def impose(
    speech: np.ndarray,
    sampling_rate: int,
    manner: Manner,
    *,
    spoken: Prosody,
    neutral: Prosody,
    rng: np.random.Generator,
) -> np.ndarray:
    """Apply a manner to speech.

    Args:
        speech: float array (samples,), mono, free of noise.
        sampling_rate: in Hz.
        manner: to apply.
        spoken: the measures of `speech`. If it is closer to the manner than `neutral` already, because the synthesizer
            spoke higher or faster, only the remaining difference is applied.
        neutral: the same sentence, spoken neutrally by the same voice.
        rng: for the aspiration noise.

    Returns:
        float array (samples,) at the same rate.
    """
    stretch = neutral.seconds * 2.0**-manner.rate / spoken.seconds
    stretch = float(np.clip(stretch, 1 / _MAX_STRETCH, _MAX_STRETCH))
    speech = _intone(speech, sampling_rate, manner, stretch, spoken, neutral)
    start, end = spoken.start * stretch, spoken.end * stretch
    voice = slice(int(start * sampling_rate), int(end * sampling_rate))

    positions = start + (end - start) * (np.arange(POINTS) + 0.5) / POINTS
    times = np.arange(len(speech)) / sampling_rate
    speech = speech * 10 ** (np.interp(times, positions, manner.energy) / 20)
    have = spectrum_of(speech[voice], sampling_rate)
    speech = tilted(speech, sampling_rate, manner.tilt - tilt_between(have, neutral.spectrum))
    if manner.breath > 0:
        speech = _breathe(speech, sampling_rate, manner.breath, rng)
    speech = _roughen(speech, sampling_rate, voice, manner, neutral.roughness)
    level = 10 * np.log10(np.mean(speech[voice] ** 2))
    return speech * 10 ** ((neutral.level + manner.level - level) / 20)


def tilted(speech: np.ndarray, sampling_rate: int, decibels_per_octave: float) -> np.ndarray:
    """Tilt a spectrum around 1 kHz, with constant gain below 100 Hz."""
    size = 1 << len(speech).bit_length()
    frequencies = np.maximum(np.fft.rfftfreq(size, 1 / sampling_rate), 100.0)
    gains = 10 ** (decibels_per_octave * np.log2(frequencies / 1000) / 20)
    return np.fft.irfft(np.fft.rfft(speech, size) * gains, size)[: len(speech)]


def _intone(
    speech: np.ndarray, sampling_rate: int, manner: Manner, stretch: float, spoken: Prosody, neutral: Prosody
) -> np.ndarray:
    """Change F0 and duration by overlap-add."""
    import parselmouth
    from parselmouth.praat import call, run

    floor = max(PITCH_HERTZ[0], 2 ** ((spoken.pitch - 12) / 12))
    ceiling = min(PITCH_HERTZ[1], 2 ** ((spoken.pitch + 24) / 12))
    times, hertz = track_pitch(speech, sampling_rate, pitch_floor=floor, pitch_ceiling=ceiling)
    times, hertz = times[hertz > 0], hertz[hertz > 0]
    positions = (times - spoken.start) / spoken.seconds * POINTS - 0.5
    numbers = np.arange(POINTS)
    accents = 12 * np.log2(hertz) - spoken.pitch - np.interp(positions, numbers, slow(spoken.contour))
    gain = manner.accents * spread(neutral.contour) / max(spread(spoken.contour), 0.1)
    semitones = np.interp(positions, numbers, manner.contour) + min(gain, _MAX_ACCENTS) * accents
    semitones += neutral.pitch + manner.pitch - np.median(semitones)

    sound = parselmouth.Sound(np.asarray(speech, dtype=np.float64), sampling_rate)
    manipulation = call(sound, "To Manipulation", 0.01, floor, ceiling)
    pitch_tier = call("Create PitchTier", "pitch", 0.0, sound.duration)
    for time, value in zip(times, np.clip(2 ** (semitones / 12), *PITCH_HERTZ)):
        call(pitch_tier, "Add point", float(time), float(value))
    duration_tier = call("Create DurationTier", "duration", 0.0, sound.duration)
    call(duration_tier, "Add point", 0.0, stretch)
    call([pitch_tier, manipulation], "Replace pitch tier")
    call([duration_tier, manipulation], "Replace duration tier")
    # Praat uses random numbers in unvoiced parts; the seed makes the result reproducible.
    run("random_initializeWithSeedUnsafelyButPredictably (1)")
    return call(manipulation, "Get resynthesis (overlap-add)").values[0]


def _breathe(speech: np.ndarray, sampling_rate: int, breath: float, rng: np.random.Generator) -> np.ndarray:
    """Add white noise with the envelope of the voice."""
    width = sampling_rate // 50
    power = np.convolve(speech**2, np.full(width, 1 / width), mode="same")
    density = min(breath, _MAX_BREATH * 2 / sampling_rate)
    return speech + rng.standard_normal(len(speech)) * np.sqrt(power * density * sampling_rate / 2)


def _roughen(speech: np.ndarray, sampling_rate: int, voice: slice, manner: Manner, neutral: float) -> np.ndarray:
    """Modulate the envelope, so that the roughness is that of the neutral rendering plus that of the manner."""
    have = roughness_of(speech[voice], sampling_rate)[0]
    missing = np.sqrt(max(neutral**2 + manner.roughness**2 - have**2, 0.0))
    if missing == 0:
        return speech
    beat = np.sin(2 * np.pi * manner.beat * np.arange(len(speech)) / sampling_rate)
    depth = min(np.sqrt(2) * missing, _MAX_BEAT_DEPTH)
    # A first try shows the roughness at this depth.
    reached = roughness_of((speech * (1 + depth * beat))[voice], sampling_rate)[0]
    depth *= missing / max(np.sqrt(max(reached**2 - have**2, 0.0)), missing / 2)
    return speech * (1 + min(depth, _MAX_BEAT_DEPTH) * beat)
