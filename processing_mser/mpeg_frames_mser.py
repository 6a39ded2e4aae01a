# SPDX-License-Identifier: Apache-2.0
"""Check that every frame of an MPEG audio file (layers I, II and III) is present.

A decoder skips unreadable bytes up to the next frame, which gives a shorter recording. Frames must follow each other
without a gap, the last must be complete, and their number must equal that in a Xing, Info or VBRI header.
"""

from functools import lru_cache
from typing import BinaryIO, NamedTuple

from .audio_checks_mser import Problem, damaged


_BLOCK_BYTES = 1 << 20
# kbit/s by (MPEG-1?, layer)
_BITRATES = {
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_FREE = 0  # length of a frame whose bit rate is not in the table


class MpegCount(NamedTuple):
    """Result of reading all frames of a file."""

    damage: Problem | None
    counted: bool = (
        False  # a Xing, Info or VBRI header gives the number of frames, so that the decoder knows the length
    )
    samples: int = 0  # per channel in all frames, including the decoder's delay and padding


class _Frame(NamedTuple):
    kind: tuple[int, int, int]  # version, layer, sampling rate; the same throughout a file
    samples: int
    length: int  # bytes
    side_bytes: int  # of layer III


def looks_like_mpeg(head: bytes) -> bool:
    """Whether a file that starts with these bytes is MPEG audio."""
    return len(head) >= 4 and _frame(head[1], head[2], head[3]) is not None and head[0] == 0xFF


@lru_cache(1 << 12)
def _frame(second: int, third: int, fourth: int) -> _Frame | None:
    """Parse the three bytes after 0xFF of a frame header; the length is `_FREE` if it is unknown."""
    version, layer = second >> 3 & 3, 4 - (second >> 1 & 3)
    bitrate, rate = third >> 4, third >> 2 & 3
    if second >> 5 != 7 or version == 1 or layer == 4 or bitrate == 15 or rate == 3:
        return None
    first, hertz = version == 3, _RATES[version][rate]
    kind, mono = (version, layer, hertz), fourth >> 6 == 3
    samples = 384 if layer == 1 else 1152 if layer == 2 or first else 576
    side = (17 if mono else 32) if first else (9 if mono else 17)
    if bitrate == 0:
        return _Frame(kind, samples, _FREE, side)
    bits, padding = 1000 * _BITRATES[first, layer][bitrate - 1], third >> 1 & 1
    length = (12 * bits // hertz + padding) * 4 if layer == 1 else samples // 8 * bits // hertz + padding
    return _Frame(kind, samples, length, side)


def count_mpeg_frames(file: BinaryIO, start: int, size: int) -> MpegCount:
    """Check and count the frames of a file of some bytes, from the position of the first frame."""
    file.seek(start)
    buffer, origin, place = file.read(_BLOCK_BYTES), start, start
    head = _frame(*buffer[1:4]) if len(buffer) >= 4 else None
    if head is None or head.length == _FREE:
        return MpegCount(Problem("has frames of a free bit rate, whose length cannot be checked", _CONVERT))
    header = _header(buffer[: head.length], head)
    if header.damage:
        return MpegCount(damaged(header.damage))
    frames = samples = 0
    while place < size:
        if place + 4 > origin + len(buffer):
            file.seek(place)
            buffer, origin = file.read(_BLOCK_BYTES), place
        at = place - origin
        frame = _frame(*buffer[at + 1 : at + 4]) if buffer[at] == 0xFF and at + 4 <= len(buffer) else None
        if frame is None:
            break
        if frame.kind != head.kind or frame.length == _FREE:
            return MpegCount(damaged(f"the frame at byte {place} has another type"))
        if place + frame.length > size:
            return MpegCount(damaged(f"its last frame, at byte {place}, is incomplete"))
        frames += 1
        samples += frame.samples
        place += frame.length
    audio = frames - header.present
    if header.frames is not None and audio != header.frames:
        if audio > header.frames:
            problem = f"has a wrong header (it gives {header.frames} frames, the file has {audio})"
            return MpegCount(Problem(problem, _CONVERT))
        return MpegCount(damaged(f"its header gives {header.frames} frames, the file has {audio}"))
    if place < size and header.frames is None and not _only_tags_follow(file, place, size):
        return MpegCount(damaged(f"there is no frame at byte {place}"))
    return MpegCount(None, header.frames is not None, samples - header.present * head.samples)


_CONVERT = "convert it: ffmpeg -i {file} out.wav"


class _Header(NamedTuple):
    """The Xing, Info or VBRI header in the first frame."""

    present: bool = False  # its frame contains no sound
    frames: int | None = None  # number of the other frames
    damage: str = ""


def _header(data: bytes, frame: _Frame) -> _Header:
    """Parse the header, and verify the checksum of LAME's delay and padding, which cut off samples."""
    place = 4 + frame.side_bytes
    if frame.kind[1] != 3:
        return _Header()
    if data[place : place + 4] not in (b"Xing", b"Info"):
        if data[36:40] == b"VBRI":
            return _Header(True, int.from_bytes(data[50:54], "big"))
        return _Header(damage="its Xing header is overwritten" * (data[place + 120 : place + 124] == b"LAME"))
    flags = int.from_bytes(data[place + 4 : place + 8], "big")
    frames = int.from_bytes(data[place + 8 : place + 12], "big") if flags & 1 else None
    place += 8 + 4 * (flags & 1) + 2 * (flags & 2) + 25 * (flags & 4) + (flags & 8) // 2
    if flags > 15 or data.find(b"LAME") not in (-1, place):
        return _Header(damage=f"its Xing header has wrong flags ({flags:#x})")
    end = place + 34
    written = int.from_bytes(data[end : end + 2], "big")
    if data[place : place + 4] == b"LAME" and len(data) >= end + 2 and _crc16(data[:end]) != written:
        return _Header(damage="its LAME header has a wrong checksum")
    return _Header(True, frames)


def _crc16(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc


def _only_tags_follow(file: BinaryIO, place: int, size: int) -> bool:
    """Whether only ID3v1, APE or Lyrics3 tags follow the last frame."""
    file.seek(place)
    after = file.read(11)
    return (size - place == 128 and after[:3] == b"TAG") or after[:8] == b"APETAGEX" or after == b"LYRICSBEGIN"
