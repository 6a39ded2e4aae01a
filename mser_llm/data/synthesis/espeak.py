# SPDX-License-Identifier: Apache-2.0
"""Reproducible speech from espeak-ng.

The library comes from PyPI's `espeakng-loader` (the extra `demo`), which contains eSpeak NG 1.52. eSpeak NG is
licensed under the GNU General Public License, version 3. It runs in a separate process and is not part of this
project.
"""

import hashlib
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

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

        Returns:
            int16 array (samples,) at `sampling_rate`.

        Raises:
            EspeakError: no such voice, or the result is silent.
        """
        request = {"text": text, "voice": voice, "seed": seed}
        request |= {"rate": rate, "pitch": pitch, "pitch_range": pitch_range}
        source = f"text {text!r} with voice {voice!r}"
        try:
            response = self._exchange(request)
        except (EOFError, ConnectionError):
            self.close()
            self._start()
            try:
                response = self._exchange(request)
            except (EOFError, ConnectionError) as error:
                raise EspeakError(source, "espeak-ng died twice", "try another text or voice") from error
        samples = np.frombuffer(response, dtype=np.int16)
        if not samples.any():
            raise EspeakError(source, "espeak-ng returned silence", "check text and voice")
        return samples

    def close(self) -> None:
        """End the process. Calling it twice is safe."""
        self._connection.close()
        # An idle process ends with the connection; one that is still speaking is killed.
        try:
            self._process.wait(timeout=2.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> "Espeak":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _start(self) -> None:
        # -I -S: a clean interpreter, so that nothing starts threads before the forks.
        server = Path(__file__).with_name("espeak_server.py")
        self._connection, theirs = multiprocessing.Pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(server), *self._paths, str(os.getpid()), str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        try:
            self.sampling_rate = self._receive()
        except EOFError as error:
            self.close()
            raise EspeakError(self._paths[0], "espeak-ng did not start", "reinstall espeakng-loader") from error

    def _exchange(self, request: dict[str, Any]) -> bytes:
        self._connection.send(request)
        return self._receive()

    def _receive(self) -> Any:
        worked, response = self._connection.recv()
        if not worked:
            raise EspeakError("espeak-ng", response, "check text and voice")
        return response
