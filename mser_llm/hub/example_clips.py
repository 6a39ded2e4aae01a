# SPDX-License-Identifier: Apache-2.0
"""Synthesize the example clips of a model's card and Space."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import soundfile

from mser_llm.data.synthesis.demo_speech import demo_rows, speak_row
from mser_llm.data.synthesis.espeak import Espeak, EspeakError
from processing_mser.audio_mser import SAMPLING_RATE


# Different from every seed of the demonstration, whose clips a model may have been trained on.
_SEED = 2503
_LANGUAGES = {"en": "English", "de": "German", "es": "Spanish"}
_EXAMPLES = (("happy", "en"), ("sad", "de"), ("angry", "es"), ("neutral", "en"))
_CLIPS = 3


@dataclass(frozen=True)
class ExampleClip:
    """A synthetic clip: its file name, a description for a reader, and the content of the file, 16 kHz mono."""

    name: str
    title: str
    flac: bytes


def example_clips(labels: Sequence[str]) -> list[ExampleClip]:
    """Return three clips, of the labels if possible, the same bytes each time; none without the extra `demo`."""
    known = [example for example in _EXAMPLES if example[0] in labels]
    chosen = [*known, *(example for example in _EXAMPLES if example not in known)][:_CLIPS]
    clips = []
    try:
        espeak = Espeak()
    except EspeakError:
        return []
    try:
        for emotion, language in chosen:
            rows = demo_rows("", languages=[language], clips_per_language=14, seed=_SEED)
            row = next(row for row in rows if row["emotion"] == emotion)
            file = io.BytesIO()
            soundfile.write(file, speak_row(espeak, row, _SEED), SAMPLING_RATE, format="FLAC", subtype="PCM_16")
            title = f"Synthetic, {_LANGUAGES[language]}, meant to be {emotion}"
            clips.append(ExampleClip(f"{emotion}-{language}.flac", title, file.getvalue()))
    finally:
        espeak.close()
    return clips
