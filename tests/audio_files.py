# SPDX-License-Identifier: Apache-2.0
"""Audio files as bytes, for tests."""

import io
import struct

import numpy as np
import soundfile


RATE = 16_000


def tone(seconds: float = 0.5, rate: int = RATE, hertz: float = 220.0) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    return (0.4 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def noise(seconds: float = 1.0, rate: int = RATE) -> np.ndarray:
    return np.random.default_rng(0).normal(scale=0.1, size=round(seconds * rate)).astype(np.float32)


def waveforms(*lengths: int) -> list[np.ndarray]:
    """Return noise of some numbers of samples."""
    rng = np.random.default_rng(0)
    return [0.1 * rng.standard_normal(length).astype(np.float32) for length in lengths]


def encoded(samples: np.ndarray, kind: str = "WAV", subtype: str | None = None, rate: int = RATE, **options) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, subtype=subtype, **options)
    return buffer.getvalue()


def constant_mp3(seconds: float = 1.0, **options) -> bytes:
    options = {"bitrate_mode": "CONSTANT", "compression_level": 0.5} | options
    return encoded(noise(seconds), "MP3", **options)


def without_xing(mp3: bytes) -> bytes:
    """Remove the first frame, which contains the Xing header."""
    return mp3[mp3.index(mp3[:2], 4) :]


def with_id3(data: bytes, size: int) -> bytes:
    return b"ID3\x03\0\0" + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0)) + b"\xaa" * size + data


def ogg_pages(ogg: bytes) -> list[int]:
    return [place for place in range(len(ogg)) if ogg[place : place + 4] == b"OggS"]


def with_data_length(wav: bytes, length: int) -> bytes:
    place = wav.index(b"data") + 4
    return wav[:place] + struct.pack("<I", length) + wav[place + 4 :]


def with_flac_total(flac: bytes, samples: int) -> bytes:
    """Change the 36-bit number of samples in FLAC's first metadata block (RFC 9639, section 8.2)."""
    fields = int.from_bytes(flac[18:26], "big") >> 36 << 36 | samples
    return flac[:18] + fields.to_bytes(8, "big") + flac[26:]
