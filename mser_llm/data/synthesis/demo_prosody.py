# SPDX-License-Identifier: Apache-2.0
"""How the synthetic demo sounds neutral, happy, sad, angry, surprised, disgusted or afraid.

The directions are published ones. For angry, happy, sad, fear and disgust they are the summary of human vocal emotion
in Murray and Arnott, "Toward the simulation of emotion in synthetic speech: a review of the literature on human vocal
emotion", JASA 93(2), 1993, 1097-1108: rate, pitch average, pitch range, intensity, voice quality, pitch changes. The
faster tempo and raised resonances of joy and the high voice of fear follow Burkhardt and Sendlmeier, "Verification of
acoustical correlates of emotional speech using formant synthesis", ISCA Workshop on Speech and Emotion, 2000, 151-156;
surprise (a steeply rising contour, a wide range, a faster and louder voice) follows Cahn, "The generation of affect in
synthesized speech", Journal of the American Voice I/O Society 8, 1990, 1-19.

The sizes are this project's: every speaker expresses each emotion in a way of their own, every clip does so more or
less strongly, and both spread far enough that the emotions overlap.
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
    """A manner of speaking, as a departure from a speaker's neutral voice (all zero)."""

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
    """Rise of the pitch over the clip's second half, in semitones."""
    breath: float = 0.0
    """Aspiration noise, as a fraction of the voice."""
    creak: float = 0.0
    """Depth of a slow irregular beating of the voice, 0 to 1: a grumbled, creaky voice."""
    tremor: float = 0.0
    """Irregular wavering of the pitch, in semitones."""
    smile: float = 0.0
    """Rise of the resonances, in semitones, as from spread lips; negative lowers them to a chest tone."""


RULES: dict[str, Prosody] = {
    "neutral": Prosody(),
    "happy": Prosody(rate=0.20, pitch=4.0, pitch_range=0.8, loudness=3.0, tilt=0.8, bend=1.0, breath=0.04, smile=1.6),
    "sad": Prosody(rate=-0.30, pitch=-2.0, pitch_range=-1.0, loudness=-5.0, tilt=-2.2, bend=-1.5, breath=0.03),
    "angry": Prosody(rate=0.15, pitch=2.5, pitch_range=0.6, loudness=6.0, tilt=2.8, bend=-0.8, creak=0.15),
    "surprise": Prosody(rate=0.10, pitch=4.0, pitch_range=1.0, loudness=2.5, tilt=0.4, bend=7.0, breath=0.05),
    "disgust": Prosody(rate=-0.40, pitch=-3.5, pitch_range=0.2, loudness=-2.0, bend=-2.0, creak=0.70, smile=-1.0),
    "fear": Prosody(rate=0.35, pitch=7.0, pitch_range=-0.2, loudness=-1.0, tilt=-0.4, breath=0.12, tremor=0.7),
}

# Standard deviations of what a speaker always does with an emotion, and of what one clip adds.
SPEAKER_SPREAD = Prosody(0.05, 0.7, 0.18, 0.8, 0.35, 0.4, 0.01, 0.05, 0.08, 0.20)
CLIP_SPREAD = Prosody(0.08, 1.1, 0.25, 1.3, 0.50, 0.7, 0.015, 0.07, 0.10, 0.25)
STRENGTH = (0.75, 1.3)
"""A clip expresses its emotion at a strength drawn between these."""
# Nobody has less than no breath, creak or tremor.
LEAST = Prosody(-1.0, -9.0, -2.0, -12.0, -6.0, -9.0, 0.0, 0.0, 0.0, -4.0)


def draw_prosody(emotion: str, speaker: np.random.Generator, clip: np.random.Generator) -> Prosody:
    """One clip's manner: the emotion's rule, bent by the speaker's own habits and by the clip's chance.

    Args:
        emotion: a word of `RULES`.
        speaker: equal for all clips of this speaker and emotion.
        clip: of this clip alone.
    """
    rule, habit, chance, least = (np.array(astuple(p)) for p in (RULES[emotion], SPEAKER_SPREAD, CLIP_SPREAD, LEAST))
    habit = habit * speaker.standard_normal(len(habit))
    chance = chance * clip.standard_normal(len(chance))
    drawn = np.maximum(clip.uniform(*STRENGTH) * (rule + habit) + chance, least)
    return Prosody(**{field.name: float(value) for field, value in zip(fields(Prosody), drawn)})


def spoken(prosody: Prosody) -> tuple[float, float, float]:
    """What the synthesiser has to speak so that the manner is right after [`colour`]: rate, pitch, pitch range."""
    return prosody.rate - prosody.smile / 12, prosody.pitch - prosody.smile, prosody.pitch_range


def colour(speech: np.ndarray, sampling_rate: int, prosody: Prosody, rng: np.random.Generator) -> np.ndarray:
    """Give spoken samples what the synthesiser itself cannot: bend, tremor, tilt, breath, creak and loudness.

    Args:
        speech: float array (samples,), any level.
        sampling_rate: of the speech, in Hz.
        prosody: its `rate`, `pitch` and `pitch_range` are the synthesiser's business and not looked at. For a `smile`
            the speech has to come that much slower and lower (see [`spoken`]), because it is played faster.
        rng: draws tremor, creak and breath.

    Returns:
        float array (samples,) at the same rate, with `SPEECH_LEVEL` plus `prosody.loudness` as its level.
    """
    seconds = np.arange(len(speech)) / sampling_rate
    middle = seconds[-1] / 2
    semitones = prosody.smile + prosody.bend * np.clip(seconds / middle - 1, 0, 1)
    semitones += prosody.tremor * _wander(seconds, 7.0, rng)
    # Where each sample falls when the speech is played faster or slower, which moves its pitch and its resonances.
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


def record(speech: np.ndarray, sampling_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Put speech into a room: silence around it, coloured background noise, a recording level.

    The noise lies 12 to 35 dB under `SPEECH_LEVEL`, so that quiet speech has the worse signal-to-noise ratio.

    Returns:
        float32 array (samples,) at 16 kHz, `MIN_CLIP_SECONDS` or longer, its peak below 0.98.
    """
    speech = soxr.resample(speech, sampling_rate, SAMPLING_RATE)
    before, after = (rng.uniform(0.04, 0.20, 2) * SAMPLING_RATE).astype(int)
    after = max(after, int(MIN_CLIP_SECONDS * SAMPLING_RATE) - before - len(speech))
    clip = np.pad(speech, (before, after))
    noise = _shape(rng.standard_normal(len(clip)), SAMPLING_RATE, rng.uniform(-5.0, -1.0))
    clip = clip + noise * SPEECH_LEVEL * 10 ** (-rng.uniform(12.0, 35.0) / 20) / noise.std()
    clip = clip * 10 ** (rng.uniform(-6.0, 3.0) / 20)
    return (clip * min(1.0, 0.97 / np.abs(clip).max())).astype(np.float32)


def trim(speech: np.ndarray, sampling_rate: int) -> np.ndarray:
    """Cut the synthesiser's silence before and after the speech, all but 30 ms."""
    loud = np.flatnonzero(np.abs(speech) > 0.02 * np.abs(speech).max())
    margin = int(0.03 * sampling_rate)
    return speech[max(0, loud[0] - margin) : loud[-1] + margin]


def _shape(signal: np.ndarray, sampling_rate: int, decibels_per_octave: float) -> np.ndarray:
    """Tilt a spectrum around 1 kHz, held below 100 Hz so that nothing there grows without bound."""
    size = 1 << (len(signal) - 1).bit_length()
    frequencies = np.maximum(np.fft.rfftfreq(size, 1 / sampling_rate), 100.0)
    gains = 10 ** (decibels_per_octave * np.log2(frequencies / 1000) / 20)
    return np.fft.irfft(np.fft.rfft(signal, size) * gains, size)[: len(signal)]


def _smooth(signal: np.ndarray, width: int) -> np.ndarray:
    sums = np.cumsum(np.pad(signal, (width // 2 + 1, width - width // 2 - 1)))
    return (sums[width:] - sums[:-width])[: len(signal)] / width


def _wander(seconds: np.ndarray, hertz: float, rng: np.random.Generator) -> np.ndarray:
    """A smooth random course of about unit size with `hertz` turns a second."""
    knots = rng.standard_normal(int(seconds[-1] * hertz) + 3)
    return np.interp(seconds * hertz, np.arange(len(knots)), knots)
