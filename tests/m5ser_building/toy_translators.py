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
        at_start: how it fails to start: `absent`, `dies`, `hangs` or `raises`.
        log: file to which each batch adds the process id and the ids of its clips.
    """

    name = "toy"
    sampling_rate = RATE
    license = "none"
    non_commercial = True
    redistribution = False

    def __init__(
        self, *, seconds: float = 0.0, loudness: float = 1.0, at_start: str = "", log: str = "", device: str = "cpu"
    ) -> None:
        self.seconds, self.loudness, self.log = seconds, loudness, log
        if at_start == "absent":
            raise TranslatorStartError("the weights of 'absent' are missing; download them")
        fail(at_start)

    def translate(self, clips: Sequence[SourceClip], language: str) -> list[Translation | TranslationError]:
        if language not in SPEED:
            raise LanguageError(f"the translator 'toy' supports {', '.join(SPEED)}, not {language!r}")
        if self.log:
            with open(self.log, "a", encoding="utf-8") as file:
                print(os.getpid(), *(clip.id for clip in clips), file=file)
            # The output of libraries and of grandchildren must not disturb the protocol.
            print("translating", len(clips), flush=True)
            os.system("echo output of a grandchild")
        return [self.one(clip, language, len(clips)) for clip in clips]

    def one(self, clip: SourceClip, language: str, batch_size: int) -> Translation | TranslationError:
        time.sleep(self.seconds)
        fault = clip.id.removesuffix(".wav").rpartition("-")[2]
        fail("dies" if fault == "crowd" and batch_size > 1 else fault)
        if fault == "declines":
            return TranslationError("cannot say that")
        speech = self.loudness * np.repeat(clip.waveform, SPEED[language])[::2].astype(np.float32)
        if fault == "nan":
            speech[3:5] = np.nan, np.inf
        changed = {"silence": 0 * speech, "short": speech[: RATE // 4], "empty": speech[:0], "flat": speech[None]}
        return Translation(
            waveform=changed.get(fault, speech),
            sampling_rate=np.int64({"slow": 4_000, "rate": 8_000}.get(fault, RATE)),
            transcript=f"{language}:{clip.transcript}:{clip.speaker}:{clip.gender}:{clip.source_corpus}:{clip.language}",
            metadata={"seconds": np.float32(len(speech)), "voice": "m1"},
        )

    def fingerprint(self) -> dict[str, Any]:
        return {"name": self.name, "loudness": self.loudness}


class ReportCpus(Toy):
    """Decline every clip, with the available CPUs as the reason."""

    def one(self, clip: SourceClip, language: str, batch_size: int) -> TranslationError:
        return TranslationError(" ".join(map(str, sorted(os.sched_getaffinity(0)))))


def fail(fault: str) -> None:
    if fault == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "exits":
        os._exit(3)
    if fault == "hangs":
        time.sleep(3600)
    if fault == "raises":
        raise RuntimeError("a bug")
