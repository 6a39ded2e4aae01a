# SPDX-License-Identifier: Apache-2.0
"""Whether a WAV, AIFF, AU or Ogg file holds the sound that its headers count.

libsndfile reads what is there without a word: a copy that broke off, or a header that a recorder never completed,
would become a shorter utterance. Of FLAC and MP3 the decoded length tells.
"""

from typing import BinaryIO, Literal


_SLACK_BYTES = 512  # tags and padding that some writers leave uncounted, or count and leave out
_STREAMED_BYTES = 0x7FFF0000  # writers to a pipe put a length from here to 0xFFFFFFFF, meaning "to the end"
_OGG_HEADER_BYTES, _OGG_PAGE_BYTES = 27, 65307  # RFC 3533, section 6: without and with the most segments


def length_disagreement(file: BinaryIO, size: int) -> tuple[int, int] | None:
    """The bytes that a header counts and those that are there, where the two disagree; else None.

    Args:
        file: a seekable binary file; its position is not kept.
        size: of the file, in bytes.
    """
    file.seek(0)
    head = file.read(12)
    if head[:4] == b"OggS":
        return _last_page(file, size)
    if head[:4] == b".snd":
        return _sound(file, int.from_bytes(head[4:8], "big"), int.from_bytes(head[8:], "big"), size)
    if head[:4] not in (b"RIFF", b"RIFX", b"FORM") or head[8:] not in (b"WAVE", b"AIFF", b"AIFC"):
        return None
    order: Literal["little", "big"] = "little" if head[:4] == b"RIFF" else "big"
    start = 12
    while start + 8 <= size:
        file.seek(start)
        chunk, counted = file.read(4), int.from_bytes(file.read(4), order)
        start += 8
        if chunk in (b"data", b"SSND"):
            return _sound(file, start, counted, size)
        start += counted + counted % 2
    return None


def _sound(file: BinaryIO, start: int, counted: int, size: int) -> tuple[int, int] | None:
    present = size - start
    if counted >= _STREAMED_BYTES or abs(present - counted) <= _SLACK_BYTES:
        return None
    if counted < present:
        file.seek(start + counted)
        after = file.read(5)  # the next chunk's name, behind a padding byte or not
        if any(len(name) == 4 and name.isascii() and name.decode().isprintable() for name in (after[:4], after[1:])):
            return None
    return counted, present


def _last_page(file: BinaryIO, size: int) -> tuple[int, int] | None:
    """Ogg counts nothing: only a page that breaks off tells, for live recorders omit the mark of the stream's end."""
    file.seek(max(0, size - _OGG_PAGE_BYTES))
    tail = file.read()
    page = tail[max(0, tail.rfind(b"OggS")) :]
    counted = _OGG_HEADER_BYTES
    if len(page) >= counted:
        segments = page[26]
        counted += segments + sum(page[27 : 27 + segments])
    return (counted, len(page)) if len(page) < counted else None
