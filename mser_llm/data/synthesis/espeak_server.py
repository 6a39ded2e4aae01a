# SPDX-License-Identifier: Apache-2.0
"""The process of [`mser_llm.data.synthesis.espeak.Espeak`]: espeak-ng, with one fork per utterance.

espeak-ng (GPL-3.0) speaks the same sentence differently in each call, because its state and random numbers persist
between utterances. This process therefore only initializes the library, in synchronous mode (the threaded mode hangs
after a fork). Every utterance is spoken by a fork of this state with the seed of the utterance, so equal requests give
equal bytes in any order.

Run it by path: `python -I -S espeak_server.py LIBRARY DATA PARENT_PID FD`. It imports only the standard library, so
that no thread starts before the forks. `FD` is a `multiprocessing` connection: requests are dicts, responses are pairs
of whether it worked and the 16-bit samples, or the error.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from ctypes import c_char_p, c_int, c_long, c_short, c_size_t, c_uint, c_void_p
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any


SYNCHRONOUS = 2
CHARS_UTF8 = 1
PARAMETERS = {"rate": 1, "pitch": 3, "pitch_range": 4}
ATTEMPTS = 3

Callback = ctypes.CFUNCTYPE(c_int, ctypes.POINTER(c_short), c_int, c_void_p)


def load_library(library_path: str, data_path: str) -> tuple[ctypes.CDLL, int]:
    """Initialize espeak-ng without speaking; return the library and its sampling rate in Hz."""
    library = ctypes.CDLL(library_path)
    library.espeak_Initialize.argtypes = [c_int, c_int, c_char_p, c_int]
    library.espeak_SetVoiceByName.argtypes = [c_char_p]
    library.espeak_SetParameter.argtypes = [c_int, c_int, c_int]
    library.espeak_SetSynthCallback.argtypes = [Callback]
    library.espeak_SetSynthCallback.restype = None
    library.espeak_ng_SetRandSeed.argtypes = [c_long]
    library.espeak_Synth.argtypes = [c_char_p, c_size_t, c_uint, c_int, c_uint, c_uint, c_void_p, c_void_p]
    sampling_rate = library.espeak_Initialize(SYNCHRONOUS, 0, os.fsencode(data_path), 0)
    if sampling_rate <= 0:
        raise RuntimeError(f"espeak_Initialize returned {sampling_rate} for the data in {data_path}")
    return library, sampling_rate


def speak(library: ctypes.CDLL, request: dict) -> bytes:
    """Speak a request in this process; return 16-bit native-endian mono samples."""
    pieces: list[bytes] = []

    def collect(samples: Any, count: int, _events: Any) -> int:
        if samples and count > 0:
            pieces.append(ctypes.string_at(samples, 2 * count))
        return 0

    callback = Callback(collect)
    library.espeak_SetSynthCallback(callback)
    library.espeak_ng_SetRandSeed(request["seed"])
    if library.espeak_SetVoiceByName(request["voice"].encode()) != 0:
        raise ValueError(f"espeak-ng has no voice {request['voice']!r}")
    for name, number in PARAMETERS.items():
        library.espeak_SetParameter(number, request[name], 0)
    text = request["text"].encode()
    if library.espeak_Synth(text, len(text) + 1, 0, 1, 0, CHARS_UTF8, None, None) != 0:
        raise ValueError(f"espeak-ng could not speak {request['text']!r}")
    return b"".join(pieces)


def speak_in_fork(library: ctypes.CDLL, request: dict) -> tuple[bool, bytes | str] | None:
    """Speak in a fork of this process; return the response, or None if the fork was killed."""
    receiver, sender = Pipe(duplex=False)
    child = os.fork()
    if child == 0:
        try:
            sender.send(attempt(speak, library, request))
        finally:
            # Not sys.exit: the buffers of standard output belong to the parent.
            os._exit(0)
    sender.close()
    try:
        return receiver.recv()
    except (EOFError, OSError):
        return None
    finally:
        receiver.close()
        os.waitpid(child, 0)


def attempt(function: Callable, *arguments: Any) -> tuple[bool, Any]:
    """Call a function; return whether it worked, and its result or error message."""
    try:
        return True, function(*arguments)
    except Exception as error:
        return False, str(error)


def serve(library_path: str, data_path: str, parent: int, connection: Connection) -> None:
    # Ctrl-C reaches the complete process group; the parent decides when this process ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    loaded, result = attempt(load_library, library_path, data_path)
    if not loaded:
        connection.send((False, result))
        return
    library, sampling_rate = result
    connection.send((True, sampling_rate))
    while True:
        # Other children of a killed parent may keep the connection open, so its end is not sufficient.
        while not connection.poll(1.0):
            if os.getppid() != parent:
                return
        try:
            request = connection.recv()
        except EOFError:
            return
        responses = (speak_in_fork(library, request) for _ in range(ATTEMPTS))
        killed = (False, f"the speaking process was killed {ATTEMPTS} times")
        connection.send(next((response for response in responses if response is not None), killed))


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], int(sys.argv[3]), Connection(int(sys.argv[4])))
