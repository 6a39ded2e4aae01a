# SPDX-License-Identifier: Apache-2.0
"""Translator of the demo: parallel sentences, espeak-ng's voices, and the measured prosody of the source.

It translates the demo's sentences only. The voice of the clip's speaker speaks the target sentence with the prosody by
which the clip differs from a neutral rendering of its own sentence by that voice (see `prosody_transfer`).
"""

import hashlib
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import soxr

from mser_llm.data.synthesis.demo_prosody import SPEECH_LEVEL, trim_silence
from mser_llm.data.synthesis.demo_speech import (
    DEMO_SENTENCES,
    ESPEAK_LANGUAGES,
    HELD_OUT_VOICES,
    NEUTRAL_WORDS_PER_MINUTE,
    VOICES,
    Voice,
)
from mser_llm.data.synthesis.espeak import Espeak, utterance_seed
from mser_llm.data.translator import (
    LanguageError,
    SourceClip,
    Translation,
    TranslationError,
    Translator,
    TranslatorStartError,
)
from mser_llm.m5ser.translators.prosody import Prosody, ProsodyError, measure
from mser_llm.m5ser.translators.prosody_transfer import PITCH_HERTZ, Manner, impose, manner_of, tilted
from processing_mser.audio_mser import SAMPLING_RATE


# Incremented whenever the same clip gives other samples.
_RECIPE = 1
_NEUTRAL_PITCH_HERTZ = (60.0, 500.0)
# Change of F0 per step of espeak-ng's pitch scale (0 to 99, neutral 50).
_SEMITONES_PER_STEP = 0.175


class EspeakTranslator(Translator):
    """Speak the parallel sentence with the clip's prosody.

    Args:
        seed: of espeak-ng's breathy voices and of the background noise.
        device: ignored; espeak-ng and Praat run on the CPU.

    Raises:
        TranslatorStartError: the extra `demo` is not installed.
    """

    name = "espeak"
    sampling_rate = SAMPLING_RATE
    license = "Apache-2.0"

    def __init__(self, *, seed: int = 0, device: str = "cpu") -> None:
        try:
            import parselmouth  # noqa: F401
        except ImportError as error:
            raise TranslatorStartError(
                "the translator 'espeak' needs praat-parselmouth; install the extra: pip install 'mser-llm[demo]'"
            ) from error
        self._seed = seed
        self._espeak = Espeak()
        self._neutral: dict[tuple[str, str, int], Prosody] = {}

    def translate(self, clips: Sequence[SourceClip], language: str) -> list[Translation | TranslationError]:
        if language not in DEMO_SENTENCES:
            raise LanguageError(f"the translator 'espeak' supports {', '.join(DEMO_SENTENCES)}, not {language!r}")
        return [self._translate(clip, language) for clip in clips]

    def fingerprint(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "recipe": _RECIPE,
            "seed": self._seed,
            "espeakng-loader": version("espeakng-loader"),
            "praat-parselmouth": version("praat-parselmouth"),
        }

    def close(self) -> None:
        self._espeak.close()

    def _translate(self, clip: SourceClip, language: str) -> Translation | TranslationError:
        try:
            sentence = DEMO_SENTENCES[clip.language].index((clip.transcript or "").strip())
        except (KeyError, ValueError):
            return TranslationError(
                f"{clip.transcript!r} in {clip.language!r} is not in the sentence bank of the translator 'espeak'"
            )
        target = DEMO_SENTENCES[language][sentence]
        voice = voice_of(clip.speaker, clip.gender)
        own = self._neutral_of(voice, clip.language, sentence)
        neutral = self._neutral_of(voice, language, sentence)
        try:
            source = measure(clip.waveform, SAMPLING_RATE, **_pitch_limits(own.pitch))
        except ProsodyError as error:
            return TranslationError(f"its prosody cannot be measured: {error}")
        manner = manner_of(source, own)
        seed = utterance_seed(f"{clip.source_corpus}/{clip.id}", language, self._seed)
        speech = self._speak(voice, language, target, seed, manner)
        rate = self._espeak.sampling_rate
        spoken = measure(speech, rate, **_pitch_limits(neutral.pitch + manner.pitch))
        rng = np.random.default_rng(seed)
        speech = impose(speech, rate, manner, spoken=spoken, neutral=neutral, rng=rng)
        waveform = _add_surroundings(soxr.resample(speech, rate, SAMPLING_RATE), clip, source, rng)
        return Translation(
            waveform=waveform,
            sampling_rate=SAMPLING_RATE,
            transcript=target,
            metadata={
                "voice": voice.variant,
                "rate_octaves": round(manner.rate, 4),
                "pitch_semitones": round(manner.pitch, 4),
                "level_decibels": round(manner.level, 4),
            },
        )

    def _neutral_of(self, voice: Voice, language: str, sentence: int) -> Prosody:
        """Measure, once, how this voice speaks this sentence without emotion."""
        key = (voice.variant, language, sentence)
        if key not in self._neutral:
            seed = utterance_seed(voice.variant, language, sentence)
            speech = self._speak(voice, language, DEMO_SENTENCES[language][sentence], seed)
            floor, ceiling = _NEUTRAL_PITCH_HERTZ
            self._neutral[key] = measure(speech, self._espeak.sampling_rate, pitch_floor=floor, pitch_ceiling=ceiling)
        return self._neutral[key]

    def _speak(self, voice: Voice, language: str, text: str, seed: int, manner: Manner | None = None) -> np.ndarray:
        """Synthesize speech as close to the manner as espeak-ng's own parameters allow, without silence around it."""
        rate, pitch, accents = (manner.rate, manner.pitch, manner.accents) if manner else (0.0, 0.0, 1.0)
        samples = self._espeak.speak(
            text,
            voice=f"{ESPEAK_LANGUAGES.get(language, language)}+{voice.variant}",
            seed=seed,
            rate=int(np.clip(NEUTRAL_WORDS_PER_MINUTE * 2 ** (voice.rate + rate), 80, 450)),
            pitch=int(np.clip(50 + voice.pitch * 99 / 24 + pitch / _SEMITONES_PER_STEP, 0, 99)),
            pitch_range=int(np.clip(50 * accents, 0, 99)),
        )
        speech = trim_silence(samples.astype(np.float64) / 32768, self._espeak.sampling_rate)
        speech = tilted(speech, self._espeak.sampling_rate, voice.tilt)
        return speech * SPEECH_LEVEL / np.sqrt(np.mean(speech**2))


def voice_of(speaker: str | None, gender: str | None) -> Voice:
    """Return the demo speaker's own voice; for others one of their gender, chosen by a hash of the speaker."""
    for voice in VOICES + HELD_OUT_VOICES:
        # The folder reader adds this prefix.
        if speaker is not None and speaker.removeprefix("folder-") == voice.speaker:
            return voice
    voices = [voice for voice in VOICES if gender in (None, voice.gender)] or VOICES
    digest = hashlib.blake2b((speaker or "").encode(), digest_size=4).digest()
    return voices[int.from_bytes(digest, "big") % len(voices)]


def _pitch_limits(semitones: float) -> dict[str, float]:
    """Return limits an octave below and two above a median F0, to include a voice raised by fear or surprise."""
    floor, ceiling = PITCH_HERTZ
    return {
        "pitch_floor": max(floor, 2 ** ((semitones - 12) / 12)),
        "pitch_ceiling": min(ceiling, 2 ** ((semitones + 24) / 12)),
    }


def _add_surroundings(speech: np.ndarray, clip: SourceClip, source: Prosody, rng: np.random.Generator) -> np.ndarray:
    """Add the silence and background noise around the source's speech, and limit the peak."""
    before = int(max(source.start - 0.03, 0) * SAMPLING_RATE)
    after = int(max(len(clip.waveform) / SAMPLING_RATE - source.end - 0.03, 0) * SAMPLING_RATE)
    placed = np.pad(speech, (before, after))
    size = 1 << (len(placed) - 1).bit_length()
    # The sum of the spectrum is the mean square, as for white noise of unit power.
    density = np.interp(
        np.linspace(0, 1, size // 2 + 1), np.linspace(0, 1, len(source.background)), source.background
    ) * len(source.background)
    white = np.fft.rfft(rng.standard_normal(size))
    placed += np.fft.irfft(white * np.sqrt(density), size)[: len(placed)]
    return (placed * min(1.0, 0.97 / np.abs(placed).max())).astype(np.float32)
