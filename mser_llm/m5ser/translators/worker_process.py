# SPDX-License-Identifier: Apache-2.0
"""A child process that answers frames, with a time limit on every answer."""

import os
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from typing import IO, Any

import numpy as np

from mser_llm.m5ser.translators.frames import HEADER_BYTES, lengths, pack, unpack


class WorkerError(RuntimeError):
    """The worker is gone; the message says how, as in `died (SIGSEGV)`."""


class WorkerProcess:
    """A child process that speaks `frames` over its standard input and output, one answer to a request.

    Args:
        command: the child's command line.

    Raises:
        OSError: the command cannot be started.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests: IO[bytes] = self._process.stdin
        self._answers: IO[bytes] = self._process.stdout
        for pipe in (self._requests, self._answers):
            os.set_blocking(pipe.fileno(), False)

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(
        self, message: dict[str, Any], arrays: Sequence[np.ndarray] = (), *, seconds: float
    ) -> tuple[dict[str, Any], list[np.ndarray]]:
        """Send a request and wait for its answer.

        Raises:
            WorkerError: the child died, or did not answer within `seconds`; it is killed then.
        """
        end = time.monotonic() + seconds
        try:
            self._write(pack(message, arrays), end)
            text, content = lengths(self._read(HEADER_BYTES, end))
            return unpack(self._read(text, end), self._read(content, end))
        except TimeoutError:
            self.kill()
            raise WorkerError(f"took longer than {seconds:g} s") from None
        except (EOFError, BrokenPipeError):
            # Its output ends an instant before it does; one that closed its output but stays is ended here.
            try:
                self._process.wait(timeout=5.0)
            except subprocess.TimeoutExpired:
                pass
            self.kill()
            raise WorkerError(f"died ({_status(self._process.returncode)})") from None

    def close(self) -> None:
        """End the child by ending its input; harmless when it has ended."""
        self._requests.close()
        try:
            self._process.wait(timeout=2.0)
        except subprocess.TimeoutExpired:
            pass
        self.kill()

    def kill(self) -> None:
        """End the child at once and reap it."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._requests.close()
        self._answers.close()

    def _write(self, content: bytes, end: float) -> None:
        left = memoryview(content)
        while left:
            _wait(self._requests, select.POLLOUT, end)
            try:
                left = left[os.write(self._requests.fileno(), left) :]
            except BlockingIOError:
                pass

    def _read(self, count: int, end: float) -> bytes:
        content = bytearray()
        while len(content) < count:
            _wait(self._answers, select.POLLIN, end)
            try:
                piece = os.read(self._answers.fileno(), min(count - len(content), 1 << 20))
            except BlockingIOError:
                continue
            if not piece:
                raise EOFError
            content += piece
        return bytes(content)


def _wait(pipe: IO[bytes], event: int, end: float) -> None:
    if pipe.closed:
        raise EOFError
    poll = select.poll()
    poll.register(pipe, event)
    if not poll.poll(max(end - time.monotonic(), 0) * 1000):
        raise TimeoutError


def _status(code: int | None) -> str:
    if code is not None and code < 0:
        try:
            return signal.Signals(-code).name
        except ValueError:
            return f"signal {-code}"
    return f"status {code}"
