# SPDX-License-Identifier: Apache-2.0
"""Translators of the tests, named `m5ser_building.toy_translators:CLASS`.

They stretch a clip by a factor of the language, and fail as the clip's id says: `...-dies`, `...-hangs` and so on.
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
    """Repeat each clip's samples by a factor of the language, at another rate than the corpus.

    Args:
        seconds: to wait before each clip; not part of the fingerprint.
        loudness: factor of the amplitude; part of the fingerprint.
    """

    name = "toy"
    sampling_rate = RATE

    def __init__(self, *, seconds: float = 0.0, loudness: float = 1.0, device: str = "cpu") -> None:
        self.seconds, self.loudness, self.device = seconds, loudness, device

    def translate(self, clips: Sequence[SourceClip], language: str) -> list[Translation | TranslationError]:
        if language not in SPEED:
            raise LanguageError(f"the translator 'toy' supports {', '.join(SPEED)}, not {language!r}")
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
    """Fail to start."""

    def __init__(self, *, device: str = "cpu") -> None:
        raise TranslatorStartError("the weights of 'absent' are missing; download them")


class DiesAtOnce(Toy):
    """Crash during start-up."""

    def __init__(self, *, device: str = "cpu") -> None:
        os.kill(os.getpid(), signal.SIGSEGV)


class ReportCpus(Toy):
    """Decline every clip, with the available CPUs as the reason."""

    def one(self, clip: SourceClip, language: str) -> TranslationError:
        return TranslationError(" ".join(map(str, sorted(os.sched_getaffinity(0)))))
