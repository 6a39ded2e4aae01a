# SPDX-License-Identifier: Apache-2.0
"""Translators of the tests, found by the builder as `m5ser_building.toy_translators:CLASS`.

A clip is stretched by its language. What goes wrong is in the clip's id: `...-dies`, `...-hangs` and so on.
"""

import os
import signal
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from mser_llm.data.translator import (
    LanguageError,
    SourceClip,
    Translation,
    TranslationError,
    Translator,
    TranslatorStartError,
)


SPEED = {"fr": 3, "de": 4, "it": 5}
RATE = 22_050


class Toy(Translator):
    """Repeats each clip's samples by a pattern of the language, at a rate other than the corpus's.

    Args:
        seconds: to wait before each clip.
        loudness: factor of the amplitude; the seconds above decide nothing of the result, this does.
    """

    name = "toy"
    sampling_rate = RATE

    def __init__(self, *, seconds: float = 0.0, loudness: float = 1.0, device: str = "cpu") -> None:
        self.seconds, self.loudness, self.device = seconds, loudness, device

    def translate(self, clips: Sequence[SourceClip], language: str) -> list[Translation | TranslationError]:
        if language not in SPEED:
            raise LanguageError(
                f"the translator 'toy' speaks {', '.join(SPEED)}, not {language!r}; choose one of these"
            )
        return [self.one(clip, language) for clip in clips]

    def one(self, clip: SourceClip, language: str) -> Translation | TranslationError:
        time.sleep(self.seconds)
        fault = clip.id.removesuffix(".wav").rpartition("-")[2]
        if fault == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "hangs":
            time.sleep(3600)
        if fault == "raises":
            raise RuntimeError("a bug")
        if fault == "declines":
            return TranslationError("cannot say that")
        speech = self.loudness * np.repeat(clip.waveform, SPEED[language])[::2].astype(np.float32)
        speech *= {"silence": 0.0, "nan": np.nan}.get(fault, 1.0)
        if fault == "short":
            speech = speech[: RATE // 4]
        rate = 8_000 if fault == "rate" else RATE
        return Translation(waveform=speech, sampling_rate=rate, transcript=f"{language}: {clip.transcript}")

    def fingerprint(self) -> dict[str, Any]:
        return {"name": self.name, "loudness": self.loudness}


class Absent(Toy):
    """Cannot start."""

    def __init__(self, *, device: str = "cpu") -> None:
        raise TranslatorStartError("the weights of 'absent' are not there; fetch them with the command fetch")


class DiesAtOnce(Toy):
    """Its process dies while it starts."""

    def __init__(self, *, device: str = "cpu") -> None:
        os.kill(os.getpid(), signal.SIGSEGV)


class Placed(Toy):
    """Declines every clip with the processors that it may use."""

    def one(self, clip: SourceClip, language: str) -> TranslationError:
        return TranslationError(" ".join(map(str, sorted(os.sched_getaffinity(0)))))
