# SPDX-License-Identifier: Apache-2.0
"""Prosody rules for the seven emotions of the synthetic demo.

The directions are published. For angry, happy, sad, fear and disgust they follow the summary of human vocal emotion
in Murray and Arnott, "Toward the simulation of emotion in synthetic speech: a review of the literature on human vocal
emotion", JASA 93(2), 1993, 1097-1108: rate, pitch average, pitch range, intensity, voice quality, pitch changes. The
faster tempo and raised resonances of joy and the high voice of fear follow Burkhardt and Sendlmeier, "Verification of
acoustical correlates of emotional speech using formant synthesis", ISCA Workshop on Speech and Emotion, 2000, 151-156;
surprise (a steeply rising contour, a wide range, a faster and louder voice) follows Cahn, "The generation of affect in
synthesized speech", Journal of the American Voice I/O Society 8, 1990, 1-19.

The sizes are this project's: each speaker expresses an emotion differently, each clip more or less strongly, and both
vary so much that the emotions overlap.
"""

from dataclasses import astuple, dataclass, fields

import numpy as np
import soxr

from processing_mser.audio_mser import SAMPLING_RATE


MIN_CLIP_SECONDS = 1.0
MAX_CLIP_SECONDS = 3.0
SPEECH_LEVEL = 0.06
"""Root mean square of neutral speech, of full scale."""


@dataclass(frozen=True)
class Prosody:
    """A way of speaking, relative to a speaker's neutral voice (all zero)."""

    rate: float = 0.0
    """Speaking rate, in octaves: 1 is twice as fast."""
    pitch: float = 0.0
    """Average pitch, in semitones."""
    pitch_range: float = 0.0
    """Pitch range, in octaves: 1 is twice as wide."""
    loudness: float = 0.0
    """Intensity, in dB."""
    tilt: float = 0.0
    """Spectral slope, in dB per octave; positive is a tense, bright voice, negative a lax one."""
    bend: float = 0.0
    """Rise of the pitch in the second half of a clip, in semitones."""
    breath: float = 0.0
    """Aspiration noise, as a fraction of the voice."""
    creak: float = 0.0
    """Depth of an irregular amplitude modulation, 0 to 1: a creaky voice."""
    tremor: float = 0.0
    """Irregular variation of the pitch, in semitones."""
    smile: float = 0.0
    """Rise of the resonances, in semitones, as with spread lips; negative lowers them."""


RULES: dict[str, Prosody] = {
    "neutral": Prosody(),
    "happy": Prosody(rate=0.20, pitch=4.0, pitch_range=0.8, loudness=3.0, tilt=0.8, bend=1.0, breath=0.04, smile=1.6),
    "sad": Prosody(rate=-0.30, pitch=-2.0, pitch_range=-1.0, loudness=-5.0, tilt=-2.2, bend=-1.5, breath=0.03),
    "angry": Prosody(rate=0.15, pitch=2.5, pitch_range=0.6, loudness=6.0, tilt=2.8, bend=-0.8, creak=0.15),
    "surprise": Prosody(rate=0.10, pitch=4.0, pitch_range=1.0, loudness=2.5, tilt=0.4, bend=7.0, breath=0.05),
    "disgust": Prosody(rate=-0.40, pitch=-3.5, pitch_range=0.2, loudness=-2.0, bend=-2.0, creak=0.70, smile=-1.0),
    "fear": Prosody(rate=0.35, pitch=7.0, pitch_range=-0.2, loudness=-1.0, tilt=-0.4, breath=0.12, tremor=0.7),
}

# Standard deviations between the speakers of an emotion, and between the clips of a speaker.
SPEAKER_SPREAD = Prosody(0.05, 0.7, 0.18, 0.8, 0.35, 0.4, 0.01, 0.05, 0.08, 0.20)
CLIP_SPREAD = Prosody(0.08, 1.1, 0.25, 1.3, 0.50, 0.7, 0.015, 0.07, 0.10, 0.25)
STRENGTH = (0.75, 1.3)
"""Range of the random strength of a clip's emotion."""
MINIMUM = Prosody(-1.0, -9.0, -2.0, -12.0, -6.0, -9.0, 0.0, 0.0, 0.0, -4.0)


def draw_prosody(emotion: str, speaker: np.random.Generator, clip: np.random.Generator) -> Prosody:
    """
    Draw the prosody of one clip: the rule of the emotion with the variation of the speaker and of the clip.

    Args:
        emotion: a key of `RULES`.
        speaker: a generator with the same seed for all clips of this speaker and emotion.
        clip: a generator for this clip.
    """
    spreads = (RULES[emotion], SPEAKER_SPREAD, CLIP_SPREAD, MINIMUM)
    rule, speaker_spread, clip_spread, minimum = (np.array(astuple(prosody)) for prosody in spreads)
    speaker_offset = speaker_spread * speaker.standard_normal(len(rule))
    clip_offset = clip_spread * clip.standard_normal(len(rule))
    drawn = np.maximum(clip.uniform(*STRENGTH) * (rule + speaker_offset) + clip_offset, minimum)
    return Prosody(**{field.name: float(value) for field, value in zip(fields(Prosody), drawn)})


def synthesizer_prosody(prosody: Prosody) -> tuple[float, float, float]:
    """Return the rate, pitch and pitch range for the synthesizer that give `prosody` after [`apply_prosody`]."""
    return prosody.rate - prosody.smile / 12, prosody.pitch - prosody.smile, prosody.pitch_range


def apply_prosody(speech: np.ndarray, sampling_rate: int, prosody: Prosody, rng: np.random.Generator) -> np.ndarray:
    """
    Add what the synthesizer cannot produce: bend, tremor, tilt, breath, creak, smile and loudness.

    Args:
        speech: float array (samples,), any level.
        sampling_rate: of the speech, in Hz.
        prosody: `rate`, `pitch` and `pitch_range` are ignored; the synthesizer applies them. A `smile` plays the
            speech faster, so it has to be slower and lower ([`synthesizer_prosody`]).
        rng: draws tremor, creak and breath.

    Returns:
        float array (samples,) at the same rate, with `SPEECH_LEVEL` plus `prosody.loudness` as its level.
    """
    seconds = np.arange(len(speech)) / sampling_rate
    middle = seconds[-1] / 2
    semitones = prosody.smile + prosody.bend * np.clip(seconds / middle - 1, 0, 1)
    semitones += prosody.tremor * _wander(seconds, 7.0, rng)
    # New position of each sample. Playing speech faster or slower moves its pitch and resonances.
    position = np.cumsum(2.0 ** (-semitones / 12))
    speech = np.interp(np.arange(int(position[-1])), position, speech)
    seconds = np.arange(len(speech)) / sampling_rate

    speech = _shape(speech, sampling_rate, prosody.tilt)
    envelope = np.sqrt(np.maximum(_smooth(speech**2, sampling_rate // 50), 0))
    breath = _shape(rng.standard_normal(len(speech)), sampling_rate, 1.0)
    beat = 0.5 - 0.5 * np.sin(2 * np.pi * 38.0 * seconds + 3.0 * _wander(seconds, 9.0, rng))
    speech = speech * (1 - min(prosody.creak, 0.95) * beat) + prosody.breath * envelope * breath / breath.std()
    level = SPEECH_LEVEL * 10 ** (prosody.loudness / 20)
    return speech * level / np.sqrt(np.mean(speech**2))


def add_background(speech: np.ndarray, sampling_rate: int, rng: np.random.Generator) -> np.ndarray:
    """
    Add silence before and after the speech, colored background noise, and a recording level.

    The noise is 12 to 35 dB below `SPEECH_LEVEL`, so quiet speech has a worse signal-to-noise ratio.

    Returns:
        float32 array (samples,) at 16 kHz, `MIN_CLIP_SECONDS` or longer, with a peak below 0.98.
    """
    speech = soxr.resample(speech, sampling_rate, SAMPLING_RATE)
    before, after = (rng.uniform(0.04, 0.20, 2) * SAMPLING_RATE).astype(int)
    after = max(after, int(MIN_CLIP_SECONDS * SAMPLING_RATE) - before - len(speech))
    clip = np.pad(speech, (before, after))
    noise = _shape(rng.standard_normal(len(clip)), SAMPLING_RATE, rng.uniform(-5.0, -1.0))
    clip = clip + noise * SPEECH_LEVEL * 10 ** (-rng.uniform(12.0, 35.0) / 20) / noise.std()
    clip = clip * 10 ** (rng.uniform(-6.0, 3.0) / 20)
    return (clip * min(1.0, 0.97 / np.abs(clip).max())).astype(np.float32)


def trim_silence(speech: np.ndarray, sampling_rate: int) -> np.ndarray:
    """Remove silence before and after the speech, except 30 ms."""
    loud = np.flatnonzero(np.abs(speech) > 0.02 * np.abs(speech).max())
    margin = int(0.03 * sampling_rate)
    return speech[max(0, loud[0] - margin) : loud[-1] + margin]


def _shape(signal: np.ndarray, sampling_rate: int, decibels_per_octave: float) -> np.ndarray:
    """Tilt a spectrum around 1 kHz. The gain is constant below 100 Hz, so that it is bounded."""
    size = 1 << (len(signal) - 1).bit_length()
    frequencies = np.maximum(np.fft.rfftfreq(size, 1 / sampling_rate), 100.0)
    gains = 10 ** (decibels_per_octave * np.log2(frequencies / 1000) / 20)
    return np.fft.irfft(np.fft.rfft(signal, size) * gains, size)[: len(signal)]


def _smooth(signal: np.ndarray, width: int) -> np.ndarray:
    sums = np.cumsum(np.pad(signal, (width // 2 + 1, width - width // 2 - 1)))
    return (sums[width:] - sums[:-width])[: len(signal)] / width


def _wander(seconds: np.ndarray, hertz: float, rng: np.random.Generator) -> np.ndarray:
    """A smooth random curve of about unit size that changes direction about `hertz` times per second."""
    knots = rng.standard_normal(int(seconds[-1] * hertz) + 3)
    return np.interp(seconds * hertz, np.arange(len(knots)), knots)
