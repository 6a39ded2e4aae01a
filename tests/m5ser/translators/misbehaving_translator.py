# SPDX-License-Identifier: Apache-2.0
"""A translator in a user's own module that fails as the clip's id says."""

import os
import signal
import sys
import time

import numpy as np

from mser_llm.data.translator import LanguageError, Translation, TranslationError, Translator


class Misbehaving(Translator):
    name = "misbehaving"
    sampling_rate = 16_000
    license = "none"
    non_commercial = True
    redistribution = False

    def __init__(self, *, gain: float = 0.5, at_start: str = "", log: str = "", device: str = "cpu") -> None:
        self.gain, self.log = gain, log
        if at_start == "raise":
            raise RuntimeError("no weights in /nowhere")
        if at_start == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if at_start == "hang":
            time.sleep(60)

    def translate(self, clips, language):
        if language == "xx":
            raise LanguageError("'xx' is not supported")
        if self.log:
            with open(self.log, "a") as file:
                print(os.getpid(), *(clip.id for clip in clips), file=file)
        # Output of libraries and of grandchildren must not disturb the protocol.
        print("translating", len(clips))
        sys.stdout.flush()
        os.system("echo output of a grandchild")
        return [self.one(clip, len(clips), language) for clip in clips]

    def fingerprint(self):
        return {"name": self.name, "gain": self.gain}

    def one(self, clip, batch_size, language):
        action = clip.id.split("-")[0]
        waveform, rate = clip.waveform * self.gain, np.int64(16_000)
        if action == "die":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif action == "exit":
            os._exit(3)
        elif action == "crowd" and batch_size > 1:
            os.kill(os.getpid(), signal.SIGKILL)
        elif action == "hang":
            time.sleep(60)
        elif action == "delay":
            time.sleep(2)
        elif action == "raise":
            raise RuntimeError("out of memory")
        elif action == "decline":
            return TranslationError("no speech in it")
        elif action == "silent":
            waveform = np.zeros(1600, np.float32)
        elif action == "nan":
            waveform = waveform.copy()
            waveform[3:5] = np.nan, np.inf
        elif action == "empty":
            waveform = waveform[:0]
        elif action == "flat":
            waveform = waveform[None]
        elif action == "slow":
            rate = 4_000
        elif action == "rate":
            rate = 22_050
        transcript = f"{language}:{clip.transcript}:{clip.speaker}:{clip.gender}:{clip.source_corpus}:{clip.language}"
        return Translation(waveform, rate, transcript, {"seconds": np.float32(len(waveform)), "voice": "m1"})
