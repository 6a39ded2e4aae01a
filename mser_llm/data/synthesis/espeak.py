# SPDX-License-Identifier: Apache-2.0
"""Reproducible speech from espeak-ng.

The library comes from PyPI's `espeakng-loader` (the extra `demo`), which contains eSpeak NG 1.52. eSpeak NG is
licensed under the GNU General Public License, version 3. It runs in a separate process and is not part of this
project.
"""

import hashlib
import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from types import TracebackType

import numpy as np

from mser_llm.io.errors import InputError


class EspeakError(InputError):
    """espeak-ng is not installed, does not know the voice, or could not speak."""


def utterance_seed(row_id: str, language: str, seed: int) -> int:
    """Return the random seed of an utterance: a hash of row, language and seed that is equal on every machine."""
    digest = hashlib.blake2b(f"{row_id}\0{language}\0{seed}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1


class Espeak:
    """
    A process that speaks. Equal requests give equal samples in any order and any process.

    The process starts immediately, without the threads of torch. It ends with `close`, with the `with` block, or when
    its parent dies. If it is killed, the next utterance starts another.

    Attributes:
        sampling_rate: of the samples, in Hz (22050 for eSpeak NG 1.52).

    Raises:
        EspeakError: the extra `demo` is not installed, or the system cannot fork.
    """

    def __init__(self) -> None:
        try:
            import espeakng_loader
        except ImportError as error:
            problem, fix = "is not installed", "pip install 'mser-llm[demo]' (espeak-ng is licensed under GPL-3.0)"
            raise EspeakError("espeak-ng", problem, fix) from error
        if not hasattr(os, "fork"):
            raise EspeakError("espeak-ng", f"needs os.fork, which {sys.platform} lacks", "use Linux, macOS or WSL")
        self._paths = (espeakng_loader.get_library_path(), espeakng_loader.get_data_path())
        self._start()

    def speak(
        self,
        text: str,
        *,
        voice: str,
        seed: int,
        rate: int = 175,
        pitch: int = 50,
        pitch_range: int = 50,
        volume: int = 100,
    ) -> np.ndarray:
        """
        Speak a text.

        Args:
            text: in the language of the voice.
            voice: an espeak-ng voice, optionally with a variant: `de`, `cmn+f2`.
            seed: of the utterance ([`utterance_seed`]).
            rate: words per minute, 80 to 450.
            pitch: 0 to 99, about one octave down and up; 50 is the voice's default.
            pitch_range: 0 (monotone) to 99; 50 is the voice's default.
            volume: 0 to 200; 100 is the voice's default.

        Returns:
            int16 array (samples,) at `sampling_rate`.

        Raises:
            EspeakError: no such voice, or the result is silent.
        """
        request = {"text": text, "voice": voice, "seed": seed, "rate": rate, "pitch": pitch}
        content = json.dumps(request | {"pitch_range": pitch_range, "volume": volume}).encode()
        frame = struct.pack(">I", len(content)) + content
        source = f"text {text!r} with voice {voice!r}"
        try:
            answer = self._exchange(frame)
        except (EOFError, BrokenPipeError):
            self.close()
            self._start()
            try:
                answer = self._exchange(frame)
            except (EOFError, BrokenPipeError) as error:
                raise EspeakError(source, "espeak-ng died twice", "try another text or voice") from error
        samples = np.frombuffer(answer, dtype=np.int16)
        if not samples.any():
            raise EspeakError(source, "espeak-ng returned silence", "check text and voice")
        return samples

    def close(self) -> None:
        """End the process. Calling it twice is safe."""
        for pipe in (self._requests, self._answers):
            try:
                pipe.close()
            except BrokenPipeError:
                pass
        # An idle process ends with its input; one that is still speaking is killed.
        try:
            self._process.wait(timeout=2.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> "Espeak":
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _start(self) -> None:
        # -I -S: a clean interpreter, so that nothing starts threads before the forks.
        server = Path(__file__).with_name("espeak_server.py")
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(server), *self._paths, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout
        try:
            self.sampling_rate = int(self._read_answer())
        except EOFError as error:
            self.close()
            raise EspeakError(self._paths[0], "espeak-ng did not start", "reinstall espeakng-loader") from error

    def _exchange(self, frame: bytes) -> bytes:
        self._requests.write(frame)
        self._requests.flush()
        return self._read_answer()

    def _read_answer(self) -> bytes:
        (length,) = struct.unpack(">I", self._read_exactly(4))
        answer = self._read_exactly(length)
        if answer[:1] == b"-":
            raise EspeakError("espeak-ng", answer[1:].decode(), "check text and voice")
        return answer[1:]

    def _read_exactly(self, count: int) -> bytes:
        content = self._answers.read(count)
        if len(content) < count:
            raise EOFError
        return content
