# SPDX-License-Identifier: Apache-2.0
"""Whether a WAV or AIFF file holds the sound that its header counts.

libsndfile reads the lesser of the two without a word: a copy that broke off, or a header that a recorder never
completed, would become a shorter utterance.
"""

from typing import BinaryIO, Literal


_SLACK_BYTES = 4096  # tags and padding that some writers leave uncounted
_STREAMED_BYTES = 0x7FFF0000  # writers to a pipe put a length from here to 0xFFFFFFFF, meaning "to the end"


def sound_bytes(file: BinaryIO, size: int) -> tuple[int, int] | None:
    """The bytes of sound that the header counts and those that follow it, where the two disagree; else None.

    Args:
        file: a seekable binary file; its position is not kept.
        size: of the file, in bytes.
    """
    file.seek(0)
    head = file.read(12)
    if head[:4] not in (b"RIFF", b"RIFX", b"FORM") or head[8:] not in (b"WAVE", b"AIFF", b"AIFC"):
        return None
    order: Literal["little", "big"] = "little" if head[:4] == b"RIFF" else "big"
    start = 12
    while start + 8 <= size:
        file.seek(start)
        chunk, counted = file.read(4), int.from_bytes(file.read(4), order)
        start += 8
        if chunk in (b"data", b"SSND"):
            return _disagreement(file, start, counted, size)
        start += counted + counted % 2
    return None


def _disagreement(file: BinaryIO, start: int, counted: int, size: int) -> tuple[int, int] | None:
    present = size - start
    if counted >= _STREAMED_BYTES or abs(present - counted) <= _SLACK_BYTES:
        return None
    if counted < present:
        file.seek(start + counted)
        after = file.read(5)  # the next chunk's name, behind a padding byte or not
        if any(len(name) == 4 and name.isascii() and name.decode().isprintable() for name in (after[:4], after[1:])):
            return None
    return counted, present
