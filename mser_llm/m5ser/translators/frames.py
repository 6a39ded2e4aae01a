# SPDX-License-Identifier: Apache-2.0
"""Messages between a process and its worker: a JSON object and arrays of samples, length-prefixed.

It imports the standard library and numpy alone, of any version, because a worker may run in another environment.
"""

import ctypes
import json
import os
import signal
import struct
import sys
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np


_LENGTHS = struct.Struct(">QQ")
_PR_SET_PDEATHSIG = 1


def pack(message: dict[str, Any], arrays: Sequence[np.ndarray] = ()) -> bytes:
    """One frame: two lengths (8 bytes each, big-endian), the JSON, the arrays as float32, one after another."""
    arrays = [np.ascontiguousarray(array, dtype="<f4") for array in arrays]
    whole = {"message": message, "shapes": [array.shape for array in arrays]}
    # Numbers of numpy's own types become Python's.
    text = json.dumps(whole, default=lambda number: number.item()).encode()
    content = b"".join(array.tobytes() for array in arrays)
    return _LENGTHS.pack(len(text), len(content)) + text + content


def unpack(text: bytes, content: bytes) -> tuple[dict[str, Any], list[np.ndarray]]:
    """The message and the arrays of a frame's two parts."""
    whole = json.loads(text)
    samples = np.frombuffer(content, dtype="<f4")
    arrays, begin = [], 0
    for shape in whole["shapes"]:
        end = begin + int(np.prod(shape))
        arrays.append(samples[begin:end].reshape(shape))
        begin = end
    return whole["message"], arrays


def lengths(header: bytes) -> tuple[int, int]:
    """Bytes of JSON and of samples that follow these 16 bytes."""
    text, content = _LENGTHS.unpack(header)
    return text, content


HEADER_BYTES = _LENGTHS.size


class Connection:
    """The worker's end: requests on standard input, answers on what was standard output.

    Whatever a library prints goes to standard error from now on, so that it cannot land between two frames.
    """

    def __init__(self) -> None:
        self._requests: BinaryIO = os.fdopen(os.dup(0), "rb")
        self._answers: BinaryIO = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)

    def receive(self) -> tuple[dict[str, Any], list[np.ndarray]]:
        """The next request; ends the process when there will be none."""
        text, content = lengths(self._read(HEADER_BYTES))
        return unpack(self._read(text), self._read(content))

    def send(self, message: dict[str, Any], arrays: Sequence[np.ndarray] = ()) -> None:
        self._answers.write(pack(message, arrays))
        self._answers.flush()

    def _read(self, count: int) -> bytes:
        content = self._requests.read(count)
        if len(content) < count:
            sys.exit(0)
        return content


def die_with_parent(parent: int) -> None:
    """Have this process killed when its parent ends, however it ends; on Linux. Ctrl-C is left to the parent.

    Elsewhere the end of the requests ends the process, which a worker in the midst of a batch sees late.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        # It died before the line above could take effect.
        os._exit(1)
