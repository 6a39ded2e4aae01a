# SPDX-License-Identifier: Apache-2.0
"""Check that every page of an Ogg file is present and undamaged.

libogg skips a damaged or missing page silently, which gives a shorter recording. Each page has a CRC and a sequence
number (RFC 3533, section 6), and the last page of a stream is marked.
"""

import zlib
from typing import BinaryIO

from .audio_checks_mser import Problem, damaged


_HEADER_BYTES = 27
_FIRST, _LAST = 0x02, 0x04
# Ogg's CRC is zlib's with the bits of each byte and of the result reversed, without the inversions.
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_ALL_ONES = 0xFFFFFFFF


def find_ogg_damage(file: BinaryIO, start: int) -> Problem | None:
    """Return the problem of an Ogg file whose first page is at `start`, or `None`."""
    file.seek(start)
    place = start
    numbers: dict[bytes, int] = {}  # of each stream's last page so far
    open_streams: set[bytes] = set()
    while header := file.read(_HEADER_BYTES):
        if header[:4] != b"OggS":
            if numbers and not open_streams:
                break  # tags after the end
            return damaged(f"there is no Ogg page at byte {place}")
        table = file.read(header[26]) if len(header) == _HEADER_BYTES else b""
        body = file.read(sum(table))
        if len(header) < _HEADER_BYTES or len(table) < header[26] or len(body) < sum(table):
            return damaged(f"its last Ogg page, at byte {place}, is incomplete")
        if _checksum(header[:22] + bytes(4) + header[26:] + table + body) != int.from_bytes(header[22:26], "little"):
            return damaged(f"the Ogg page at byte {place} has a wrong checksum")
        flags, stream, number = header[5], header[14:18], int.from_bytes(header[18:22], "little")
        if flags & _FIRST:
            if numbers and not open_streams:
                # libsndfile stops after the first.
                return Problem("contains several recordings in a row", "join them: ffmpeg -i {file} out.wav")
            open_streams.add(stream)
        elif number != (numbers.get(stream, -2) + 1) % (1 << 32):
            return damaged(f"an Ogg page before byte {place} is missing")
        if flags & _LAST:
            open_streams.discard(stream)
        numbers[stream] = number
        place += len(header) + len(table) + len(body)
    if open_streams:
        problem = "has no end mark (its last Ogg page does not close the stream)"
        return Problem(problem, "copy it again; if its recorder was interrupted: ffmpeg -i {file} -c copy out.ogg")
    return None


def _checksum(page: bytes) -> int:
    """CRC-32 with polynomial 0x04C11DB7, most significant bit first, initially 0."""
    reflected = zlib.crc32(page.translate(_REVERSED), _ALL_ONES) ^ _ALL_ONES
    return int.from_bytes(reflected.to_bytes(4, "little").translate(_REVERSED), "big")
