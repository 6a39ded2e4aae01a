# SPDX-License-Identifier: Apache-2.0
"""Compare the length in a file's headers with its contents.

libsndfile reads a file with a missing part without an error, so an interrupted copy or an unfinished header would
give a shorter recording.

`inspect_container` checks WAV, AIFF, RF64, W64, CAF, AU, VOC and SPHERE here, and calls `ogg_pages_mser` and
`mpeg_frames_mser`. FLAC and ALAC are checked while decoding because their headers give the exact number of samples.
"""

from collections.abc import Callable, Iterator
from typing import BinaryIO, Literal, NamedTuple

from .audio_checks_mser import Problem, damaged
from .mpeg_frames_mser import count_mpeg_frames, looks_like_mpeg
from .ogg_pages_mser import find_ogg_damage


Order = Literal["little", "big"]

_SLACK_BYTES = 512  # padding that some writers do not count, or count and do not write
_TAG_BYTES = 16 << 20  # maximum size of tags to search
_STREAMED_BYTES = 0x7FFF0000  # in a stream to a pipe, a length from here to 0xFFFFFFFF means "to the end"
_W64_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")
_PCM, _FLOAT, _ALAW, _ULAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
# Chunks that may follow the sound in WAV and AIFF files. They may be cut: they contain no sound.
_TAG_CHUNKS = set(
    b"LIST id3  ID3  bext iXML _PMX cue  smpl inst fact PEAK JUNK junk FLLR axml chna levl DISP PAD  umid cart afsp "
    b"MARK COMT INST NAME AUTH ANNO APPL (c)  SAUR plst adtl acid strc".split()
)
_AIFF_BYTES = (
    dict.fromkeys((b"NONE", b"twos", b"sowt", b"raw "), 0)
    | dict.fromkeys((b"alaw", b"ALAW", b"ulaw", b"ULAW"), 1)
    | {b"in24": 3, b"in32": 4, b"fl32": 4, b"FL32": 4, b"fl64": 8, b"FL64": 8}
)
"""Bytes per sample by compression type; 0 means that the bit depth decides."""


class Inspection(NamedTuple):
    """Result of checking a file's structure."""

    damage: Problem | None = None
    samples: int | None = None  # per channel, if the structure gives them and libsndfile does not
    guessed: bool = False  # whether libsndfile's length is a guess
    flac_digest: bytes | None = None  # MD5 of the samples in a FLAC header


def inspect_container(file: BinaryIO, size: int) -> Inspection:
    """Check the structure of an audio file of `size` bytes; an unknown format has no damage."""
    start = _after_tags(file)
    if start >= size:
        return Inspection(_counted(start, size)) if start else Inspection()
    file.seek(0)
    tags = file.read(min(start, _TAG_BYTES))
    if b"Xing\0\0\0" in tags or b"Info\0\0\0" in tags:
        return Inspection(damaged("its ID3 tag overlaps the first frame"))
    file.seek(start)
    head = file.read(40)
    if head[:4] == b"OggS":
        return Inspection(find_ogg_damage(file, start), guessed=True)
    if looks_like_mpeg(head):
        count = count_mpeg_frames(file, start, size)
        return Inspection(count.damage, None if count.counted else count.samples, not count.counted)
    if head[:4] == b"fLaC":
        return Inspection(flac_digest=_flac_digest(file, start))
    for begins, check in _CHECKS:
        if begins(head):
            return Inspection(check(file, start, size))
    return Inspection()


def _flac_digest(file: BinaryIO, start: int) -> bytes | None:
    """Return the MD5 in the first metadata block (RFC 9639, section 8.2), or `None` for an unsupported bit depth."""
    file.seek(start + 8)
    block = file.read(34)
    bits = ((block[12] & 1) << 4 | block[13] >> 4) + 1 if len(block) == 34 else 0
    return block[18:] if bits in (8, 16, 24) and any(block[18:]) else None


def _after_tags(file: BinaryIO) -> int:
    """Return the position after the ID3v2 tags, which may precede any format."""
    start = 0
    while True:
        file.seek(start)
        tag = file.read(10)
        if tag[:3] != b"ID3" or len(tag) < 10 or max(tag[6:]) > 0x7F:
            return start
        length = tag[6] << 21 | tag[7] << 14 | tag[8] << 7 | tag[9]
        start += 10 + length + (10 if tag[5] & 0x10 else 0)


def _counted(counted: int, present: int) -> Problem:
    if counted > present:
        return damaged(f"its header gives {counted} bytes, the file has {present}")
    problem = f"has a wrong header (it gives {counted} bytes of sound, the file has {present})"
    return Problem(problem, "rewrite it: ffmpeg -ignore_length 1 -i {file} out.wav")


def _contradiction(detail: str) -> Problem:
    return Problem(f"has a wrong header ({detail})", "copy or export it again")


def _chunks(file: BinaryIO, place: int, size: int, order: Order) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start of the contents, and length of the chunks of a RIFF or IFF file, starting at a byte."""
    while place + 8 <= size:
        file.seek(place)
        name, counted = file.read(4), int.from_bytes(file.read(4), order)
        yield name, place + 8, counted
        place += 8 + counted + counted % 2


def _riff(file: BinaryIO, start: int, size: int) -> Problem | None:
    file.seek(start)
    head = file.read(12)
    order: Order = "little" if head[:4] in (b"RIFF", b"RF64", b"BW64") else "big"
    riff_size, long_data = int.from_bytes(head[4:8], order), None
    for name, place, counted in _chunks(file, start + 12, size, order):
        file.seek(place)
        if name == b"ds64":
            long = file.read(16)
            riff_size, long_data = int.from_bytes(long[:8], "little"), int.from_bytes(long[8:], "little")
        elif name == b"fmt " and (wrong := _wrong_wave_format(file.read(40), order)):
            return wrong
        elif name == b"data":
            if long_data is not None and counted == 0xFFFFFFFF:
                counted = long_data
            elif counted >= _STREAMED_BYTES:
                return None
            return _sound(file, place, counted, start + 8 + riff_size, size, order)
    return None


def _wrong_wave_format(form: bytes, order: Order) -> Problem | None:
    """Find contradicting numbers in a WAV format chunk whose coding has a fixed sample size."""
    if len(form) < 16:
        return None
    tag, channels, rate, per_second, block, bits = (
        int.from_bytes(form[a:b], order) for a, b in ((0, 2), (2, 4), (4, 8), (8, 12), (12, 14), (14, 16))
    )
    if tag == _EXTENSIBLE:
        tag = int.from_bytes(form[24:26], order)
    if tag not in (_PCM, _FLOAT, _ALAW, _ULAW):
        return None
    if block != channels * -(-bits // 8):
        return _contradiction(f"{channels} channels of {bits} bits, {block} bytes per frame")
    if per_second != rate * block:
        return _contradiction(f"{rate} Hz x {block} bytes, {per_second} bytes/s")
    return None


def _aiff(file: BinaryIO, start: int, size: int) -> Problem | None:
    file.seek(start + 4)
    form_size = int.from_bytes(file.read(4), "big")
    expected = None
    for name, place, counted in _chunks(file, start + 12, size, "big"):
        file.seek(place)
        if name == b"COMM":
            common = file.read(22)
            channels, frames, bits = (int.from_bytes(common[a:b], "big") for a, b in ((0, 2), (2, 6), (6, 8)))
            width = _AIFF_BYTES.get(common[18:22] if counted >= 22 else b"NONE")
            expected = None if width is None else channels * frames * (width or -(-bits // 8))
        elif name == b"SSND":
            if counted >= _STREAMED_BYTES:
                return None
            wrong = _sound(file, place, counted, start + 8 + form_size, size, "big")
            file.seek(place)
            present = counted - 8 - int.from_bytes(file.read(4), "big")  # the sound starts at an offset
            # libsndfile counts the padding byte after an odd number.
            if wrong is None and expected is not None and present - expected not in (0, expected % 2):
                return _contradiction(f"it gives {expected} bytes of sound in one place, {present} in another")
            return wrong
    return None


def _sound(file: BinaryIO, start: int, counted: int, end: int, size: int, order: Order) -> Problem | None:
    """Compare the size of a sound chunk with the file, whose end according to its header decides small differences."""
    present, after = size - start, start + counted
    if present == counted:
        return None
    if counted > present:
        return None if counted - present <= _SLACK_BYTES and end == size else _counted(counted, present)
    if _tags_follow(file, after, size, order) or (counted % 2 and _tags_follow(file, after + 1, size, order)):
        return None
    if size - after <= _SLACK_BYTES:
        file.seek(after)
        if abs(end - after) <= 1 or not any(file.read()):
            return None
    return _counted(counted, present)


def _tags_follow(file: BinaryIO, place: int, size: int, order: Order) -> bool:
    """Whether only chunks without sound follow."""
    end = None
    for name, start, counted in _chunks(file, place, size, order):
        if name in _TAG_CHUNKS:
            return True
        if not (name.isascii() and name.decode().isprintable() and start + counted <= size):
            return False
        end = start + counted
    return end is not None and size - end < 8


def _au(file: BinaryIO, start: int, size: int) -> Problem | None:
    file.seek(start + 4)
    place, counted = start + int.from_bytes(file.read(4), "big"), int.from_bytes(file.read(4), "big")
    return None if counted >= _STREAMED_BYTES or counted == size - place else _counted(counted, size - place)


def _w64(file: BinaryIO, start: int, size: int) -> Problem | None:
    place = start + 40
    while place + 24 <= size:
        file.seek(place)
        name, counted = file.read(16), int.from_bytes(file.read(8), "little") - 24
        place += 24
        if counted < 0:
            return _contradiction("a chunk is shorter than its own header")
        if name == b"fmt " + _W64_TAIL and (wrong := _wrong_wave_format(file.read(40), "little")):
            return wrong
        if name == b"data" + _W64_TAIL:
            return _wide(file, place, counted, size, lambda rest: rest[4:16] == _W64_TAIL)
        place += counted + -counted % 8
    return None


def _caf(file: BinaryIO, start: int, size: int) -> Problem | None:
    place = start + 8
    packets = None
    while place + 12 <= size:
        file.seek(place)
        name, counted = file.read(4), int.from_bytes(file.read(8), "big", signed=True)
        place += 12
        if name == b"desc":
            form = file.read(32)
            packet, frames, channels, bits = (int.from_bytes(form[a : a + 4], "big") for a in (16, 20, 24, 28))
            if form[8:12] == b"lpcm" and packet != frames * channels * -(-bits // 8):
                return _contradiction(f"{channels} channels of {bits} bits, {packet} bytes per packet")
        if name == b"pakt":
            packets = _packet_bytes(file.read(min(counted, size)))
        if name == b"data":
            if counted == -1:  # to the end
                return None
            if packets is not None and packets != counted - 4:
                return _contradiction(f"{packets} bytes of packets, {counted - 4} of sound")
            return _wide(file, place, counted, size, lambda rest: rest[:4].isascii() and rest[:4].isalnum())
        if counted < 0:
            return _contradiction(f"a chunk of {counted} bytes")
        place += counted
    return None


def _packet_bytes(table: bytes) -> int:
    """Sum the packet sizes, which are stored in 7-bit groups after 24 other bytes."""
    total = size = 0
    for byte in table[24:]:
        size = size << 7 | byte & 0x7F
        if byte < 0x80:
            total, size = total + size, 0
    return total


def _wide(file: BinaryIO, place: int, counted: int, size: int, is_chunk: Callable[[bytes], bool]) -> Problem | None:
    """Like `_sound`, for formats with exact 64-bit sizes."""
    present = size - place
    if counted > present:
        return _counted(counted, present)
    file.seek(place + counted)
    rest = file.read(64).lstrip(b"\0")
    return None if not rest or is_chunk(rest) else _counted(counted, present)


def _voc(file: BinaryIO, start: int, size: int) -> Problem | None:
    file.seek(start + 20)
    place = start + int.from_bytes(file.read(2), "little")
    while place < size:
        file.seek(place)
        block = file.read(4)
        if block[0] == 0:
            break
        counted, present = int.from_bytes(block[1:], "little"), size - place - 4
        if counted > present:
            return _counted(counted, max(present, 0))
        if block[0] == 9:
            bits, channels, coding = file.read(8)[4:7]
            if channels not in (1, 2) or (coding in (0, 4, 6, 7) and bits != (16 if coding == 4 else 8)):
                return _contradiction(f"{channels} channels, {bits} bits in coding {coding}")
        place += 4 + counted
    left = size - place
    return _counted(place, size) if left > _SLACK_BYTES else None


def _sphere(file: BinaryIO, start: int, size: int) -> Problem | None:
    file.seek(start)
    head = file.read(1024)
    try:
        length = int(head[8:16])
        head += file.read(min(max(length - 1024, 0), 1 << 16))
        fields = {line.split()[0]: line.split()[2] for line in head.split(b"\n")[2:] if len(line.split()) == 3}
        counted = int(fields[b"sample_count"]) * int(fields.get(b"channel_count", b"1"))
        counted *= int(fields.get(b"sample_n_bytes", b"2"))
    except (ValueError, KeyError):
        return Problem("has no length in its header", "rewrite it: ffmpeg -i {file} out.wav")
    if length <= 0 or length % 1024:
        return _contradiction(f"its header has {length} bytes")
    present = size - start - length
    return None if counted == present else _counted(counted, present)


_CHECKS: tuple[tuple[Callable[[bytes], bool], Callable[[BinaryIO, int, int], Problem | None]], ...] = (
    (lambda head: head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:12] == b"WAVE", _riff),
    (lambda head: head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"), _aiff),
    (lambda head: head[:4] == b".snd", _au),
    (lambda head: head[:4] == b"riff" and head[24:28] == b"wave", _w64),
    (lambda head: head[:4] == b"caff", _caf),
    (lambda head: head[:19] == b"Creative Voice File", _voc),
    (lambda head: head[:7] == b"NIST_1A", _sphere),
)
