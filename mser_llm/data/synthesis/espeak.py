# SPDX-License-Identifier: Apache-2.0
"""Repeatable speech from espeak-ng, as the synthetic demo needs it.

The library comes from PyPI's `espeakng-loader` (the extra `demo`), which bundles eSpeak NG 1.52. eSpeak NG is under
the GNU General Public License, version 3; it runs in a process of its own here, and nothing of it is part of this
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


class EspeakError(RuntimeError):
    """espeak-ng is not there, does not know the voice, or could not speak."""


def utterance_seed(row_id: str, language: str, seed: int) -> int:
    """The random seed of one utterance: a hash of its row, its language and the run's seed, equal on every machine.

    Python's own `hash` of a string differs from process to process.
    """
    digest = hashlib.blake2b(f"{row_id}\0{language}\0{seed}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1


class Espeak:
    """A process that speaks: equal requests give equal samples in any order, in any process.

    The process starts at once, untouched by the threads of torch, ends with `close` or the `with` block, and ends by
    itself when its parent dies. If it is killed, the next utterance starts another.

    Attributes:
        sampling_rate: samples per second of everything spoken, in Hz (22050 for eSpeak NG 1.52).

    Raises:
        EspeakError: the extra `demo` is not installed, or the system cannot fork.
    """

    def __init__(self) -> None:
        try:
            import espeakng_loader
        except ImportError as error:
            raise EspeakError(
                "demo speech needs espeak-ng (module espeakng_loader not found); "
                "install the extra: pip install 'mser-llm[demo]' (espeak-ng is GPL-3.0)"
            ) from error
        if not hasattr(os, "fork"):
            raise EspeakError(f"demo speech needs os.fork, which {sys.platform} lacks; use Linux, macOS or WSL")
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
        """Speak a text.

        Args:
            text: what to say, in the language of the voice.
            voice: an espeak-ng voice, with a variant or not: `de`, `cmn+f2`.
            seed: seeds the utterance's random numbers; see [`utterance_seed`].
            rate: words per minute, 80 to 450.
            pitch: 0 to 99, 50 the voice's own; about an octave down and up.
            pitch_range: 0 (monotone) to 99, 50 the voice's own.
            volume: 0 to 200, 100 the voice's own.

        Returns:
            int16 array (samples,) at `sampling_rate`.

        Raises:
            EspeakError: no such voice, or nothing could be spoken.
        """
        request = json.dumps(
            {
                "text": text,
                "voice": voice,
                "seed": seed,
                "rate": rate,
                "pitch": pitch,
                "pitch_range": pitch_range,
                "volume": volume,
            }
        ).encode()
        frame = struct.pack(">I", len(request)) + request
        try:
            answer = self._exchange(frame)
        except (EOFError, BrokenPipeError):
            self.close()
            self._start()
            try:
                answer = self._exchange(frame)
            except (EOFError, BrokenPipeError) as error:
                raise EspeakError(f"espeak-ng died twice on {text!r} with voice {voice!r}; try another") from error
        samples = np.frombuffer(answer, dtype=np.int16)
        if not samples.any():
            raise EspeakError(f"espeak-ng spoke nothing for {text!r} with voice {voice!r}; check text and voice")
        return samples

    def close(self) -> None:
        """End the process; harmless when it has ended."""
        for pipe in (self._requests, self._answers):
            try:
                pipe.close()
            except BrokenPipeError:
                pass
        # The end of its input ends an idle process; one that still speaks for a caller who left would linger.
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
        # -I -S: a clean interpreter, so that nothing in the environment starts threads before the forks.
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
            raise EspeakError(f"espeak-ng did not start ({self._paths[0]}); reinstall espeakng-loader") from error

    def _exchange(self, frame: bytes) -> bytes:
        self._requests.write(frame)
        self._requests.flush()
        return self._read_answer()

    def _read_answer(self) -> bytes:
        (length,) = struct.unpack(">I", self._read_exactly(4))
        answer = self._read_exactly(length)
        if answer[:1] == b"-":
            raise EspeakError(answer[1:].decode())
        return answer[1:]

    def _read_exactly(self, count: int) -> bytes:
        content = self._answers.read(count)
        if len(content) < count:
            raise EOFError
        return content
