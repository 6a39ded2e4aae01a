# SPDX-License-Identifier: Apache-2.0
"""Run code in a child process, with a time limit on every answer.

`WorkerProcess` is the parent's side, `serve` the child's; they exchange pickles over a socket pair. This file imports
the standard library only, because the child may run in another Python environment, of another version.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any


_PROTOCOL = 4
_PR_SET_PDEATHSIG = 1


class WorkerError(RuntimeError):
    """The worker has ended; the message says how, as in `died (SIGSEGV)`."""


class WorkerProcess:
    """Start a child process that answers one request at a time.

    Args:
        command: the child's command line. The descriptor of its socket and the process id of its parent are added as
            the last two arguments, where `serve` reads them.

    Raises:
        OSError: the command cannot be started.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._socket, theirs = socket.socketpair()
        self._answers = self._socket.makefile("rb")
        with theirs:
            # What libraries print goes to standard error, not into the output of the user's command.
            self._process = subprocess.Popen(
                [*command, str(theirs.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=2,
                pass_fds=[theirs.fileno()],
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def ask(self, request: Any, *, seconds: float) -> Any:
        """Send a request and return the answer; both are pickled.

        Raises:
            WorkerError: the child died, raised, or was silent for `seconds`. It has ended then.
        """
        try:
            self._socket.settimeout(seconds)
            self._socket.sendall(pickle.dumps(request, _PROTOCOL))
            succeeded, answer = pickle.load(self._answers)
        except TimeoutError:
            self.kill()
            raise WorkerError(f"took longer than {seconds:g} s") from None
        except (EOFError, OSError, pickle.UnpicklingError):
            # The socket closes an instant before the process ends.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=5.0)
            self.kill()
            raise WorkerError(f"died ({_status(self._process.returncode)})") from None
        except BaseException:
            # Such as Ctrl-C. The late answer would be taken for that of the next request.
            self.kill()
            raise
        if not succeeded:
            self.close()
            raise WorkerError(f"failed ({answer})")
        return answer

    def close(self) -> None:
        """Let the child end, and kill it if it does not. Has no effect on one that has ended."""
        # The end of the stream, even where a grandchild keeps the socket open.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=2.0)
        self.kill()

    def kill(self) -> None:
        """Kill the child and reap it."""
        if not self.ended:
            self._process.kill()
            self._process.wait()
        self._answers.close()
        self._socket.close()


def serve(start: Callable[[Any], tuple[Any, Callable[[Any], Any]]]) -> None:
    """Answer the requests of the parent until it closes the socket.

    After an exception the process ends, because the state of the device and of the libraries is unknown.

    Args:
        start: takes the first request and returns its answer, with the function that answers all others.
    """
    descriptor, parent = map(int, sys.argv[-2:])
    os.set_inheritable(descriptor, False)
    die_with_parent(parent)
    handle: Callable[[Any], Any] | None = None
    with socket.socket(fileno=descriptor) as connection, connection.makefile("rb") as requests:
        while True:
            try:
                request = pickle.load(requests)
            except (EOFError, ConnectionError):
                return
            try:
                if handle is None:
                    answer, handle = start(request)
                else:
                    answer = handle(request)
                reply = pickle.dumps((True, answer), _PROTOCOL)
            except Exception as error:
                connection.sendall(pickle.dumps((False, f"{type(error).__name__}: {error}"), _PROTOCOL))
                return
            connection.sendall(reply)


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, in whatever way, and leave Ctrl-C to the parent.

    This works on Linux. Elsewhere the end of the socket ends the process, after the current batch.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        # The parent ended before the line above took effect.
        os._exit(1)


def _status(code: int | None) -> str:
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return f"status {code}"
