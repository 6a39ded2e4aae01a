# SPDX-License-Identifier: Apache-2.0
"""The process of [`mser_llm.data.synthesis.espeak.Espeak`]: espeak-ng, with one fork per utterance.

espeak-ng (GPL-3.0) speaks the same sentence differently in each call, because its state and random numbers persist
between utterances. This process therefore only initializes the library, in synchronous mode (the threaded mode hangs
after a fork). Every utterance is spoken by a fork of this state with the seed of the utterance, so equal requests give
equal bytes in any order.

Run it by path: `python -I -S espeak_server.py LIBRARY DATA PARENT_PID`. It imports only the standard library, so that
no thread starts before the forks. Both directions of the pipe carry frames: four bytes of length (big-endian), then
the content. A request is JSON; a response is one status byte, `+` and 16-bit samples or `-` and a message.
"""

import ctypes
import json
import os
import select
import signal
import struct
import sys
from typing import Any


SYNCHRONOUS = 2
CHARS_UTF8 = 1
PARAMETERS = {"rate": 1, "volume": 2, "pitch": 3, "pitch_range": 4}
ATTEMPTS = 3

Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


def load_library(library_path: str, data_path: str) -> tuple[ctypes.CDLL, int]:
    """Initialize espeak-ng without speaking; return the library and its sampling rate in Hz."""
    library = ctypes.CDLL(library_path)
    library.espeak_Initialize.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int]
    library.espeak_SetVoiceByName.argtypes = [ctypes.c_char_p]
    library.espeak_SetParameter.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int]
    library.espeak_SetSynthCallback.argtypes = [Callback]
    library.espeak_SetSynthCallback.restype = None
    library.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
    library.espeak_Synth.argtypes = [
        ctypes.c_char_p,
        ctypes.c_size_t,
        ctypes.c_uint,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.c_uint,
        ctypes.c_void_p,
        ctypes.c_void_p,
    ]
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


def speak_in_fork(library: ctypes.CDLL, request: dict) -> tuple[bytes, bool]:
    """Speak in a fork of this process; return the response and whether the fork completed."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(read_end)
            try:
                answer = b"+" + speak(library, request)
            except Exception as error:
                answer = b"-" + str(error).encode()
            with os.fdopen(write_end, "wb") as pipe:
                pipe.write(answer)
        finally:
            # Not sys.exit: the buffers of standard output belong to the parent.
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    return answer, status == 0 and answer[:1] in (b"+", b"-")


def read_exactly(count: int, parent: int) -> bytes:
    """Read `count` bytes of standard input; end the process if the parent has ended."""
    content = b""
    while len(content) < count:
        # Other children of a killed parent may keep the pipe open, so the end of the pipe is not sufficient.
        while not select.select([0], [], [], 1.0)[0]:
            if os.getppid() != parent:
                os._exit(0)
        piece = os.read(0, count - len(content))
        if not piece:
            os._exit(0)
        content += piece
    return content


def write_frame(content: bytes) -> None:
    sys.stdout.buffer.write(struct.pack(">I", len(content)) + content)
    sys.stdout.buffer.flush()


def serve(library_path: str, data_path: str, parent: int) -> None:
    # Ctrl-C reaches the complete process group; the parent decides when this process ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        library, sampling_rate = load_library(library_path, data_path)
    except Exception as error:
        write_frame(b"-" + str(error).encode())
        return
    write_frame(b"+" + str(sampling_rate).encode())
    while True:
        (length,) = struct.unpack(">I", read_exactly(4, parent))
        request = json.loads(read_exactly(length, parent))
        for _ in range(ATTEMPTS):
            answer, complete = speak_in_fork(library, request)
            if complete:
                break
        else:
            answer = b"-the speaking process was killed %d times" % ATTEMPTS
        write_frame(answer)


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], int(sys.argv[3]))
