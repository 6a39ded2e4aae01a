# SPDX-License-Identifier: Apache-2.0
"""A translator that does nothing, to measure the cost of everything around it."""

from collections.abc import Sequence
from typing import Any

from mser_llm.data.translator import SourceClip, Translation, TranslationError, Translator


class Echo(Translator):
    """Return every clip unchanged."""

    name = "echo"

    def __init__(self, *, device: str = "cpu") -> None:
        self.device = device

    def translate(self, clips: Sequence[SourceClip], language: str) -> list[Translation | TranslationError]:
        return [Translation(clip.waveform, 16_000, clip.transcript) for clip in clips]

    def fingerprint(self) -> dict[str, Any]:
        return {"name": self.name}
