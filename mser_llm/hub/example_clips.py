# SPDX-License-Identifier: Apache-2.0
"""Clips that the project speaks itself, to show a model by: on its card, in its Space."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import soundfile

from mser_llm.data.synthesis.demo_speech import demo_rows, speak_row
from mser_llm.data.synthesis.espeak import Espeak
from processing_mser.audio_mser import SAMPLING_RATE


# Never a seed of the demonstration itself, whose clips a model may have been trained on.
_SEED = 2503
_WANTED = (
    ("happy", "en", "English"),
    ("sad", "de", "German"),
    ("angry", "es", "Spanish"),
    ("neutral", "en", "English"),
)
_CLIPS = 3


@dataclass(frozen=True)
class ExampleClip:
    """A synthetic clip.

    Attributes:
        name: of the file.
        title: what it is, for a reader.
        flac: the file's content, 16 kHz mono.
    """

    name: str
    title: str
    flac: bytes


def example_clips(words: Sequence[str]) -> list[ExampleClip]:
    """Three clips, of emotions among the words as far as there are any; the same bytes each time.

    Raises:
        EspeakError: the extra `demo` is not installed.
    """
    known = [wanted for wanted in _WANTED if wanted[0] in words]
    chosen = [*known, *(wanted for wanted in _WANTED if wanted not in known)][:_CLIPS]
    clips = []
    espeak = Espeak()
    try:
        for emotion, language, spoken in chosen:
            rows = demo_rows("", languages=[language], clips_per_language=14, seed=_SEED)
            row = next(row for row in rows if row["emotion"] == emotion)
            file = io.BytesIO()
            soundfile.write(file, speak_row(espeak, row, _SEED), SAMPLING_RATE, format="FLAC", subtype="PCM_16")
            title = f"Synthetic, {spoken}, meant to be {emotion}"
            clips.append(ExampleClip(f"{emotion}-{language}.flac", title, file.getvalue()))
    finally:
        espeak.close()
    return clips
