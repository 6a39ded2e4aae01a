# SPDX-License-Identifier: Apache-2.0
"""A file from which a part is missing is rejected, in every container that makes it possible to know."""

import io
import struct
from itertools import pairwise

import numpy as np
import pytest
import soundfile

from processing_mser.audio_mser import AudioError, load_audio
from processing_mser.ogg_pages_mser import _checksum


RATE = 16_000


def noise(seconds: float = 1.0, rate: int = RATE) -> np.ndarray:
    return np.random.default_rng(0).normal(scale=0.1, size=round(seconds * rate)).astype(np.float32)


def encoded(samples: np.ndarray, kind: str, subtype: str | None = None, rate: int = RATE, **options) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, subtype=subtype, **options)
    return buffer.getvalue()


def pages(ogg: bytes) -> list[int]:
    return [place for place in range(len(ogg)) if ogg[place : place + 4] == b"OggS"]


def with_id3(data: bytes, size: int) -> bytes:
    return b"ID3\x03\0\0" + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0)) + b"\xaa" * size + data


def constant_mp3(seconds: float = 1.0, **options) -> bytes:
    options = {"bitrate_mode": "CONSTANT", "compression_level": 0.5} | options
    return encoded(noise(seconds), "MP3", **options)


def without_xing(mp3: bytes) -> bytes:
    return mp3[mp3.index(b"\xff\xf3", 4) :]


def rejected(data: bytes) -> str:
    with pytest.raises(AudioError) as caught:
        load_audio(data)
    return caught.value.problem


def test_ogg_checksum_equals_a_bitwise_computation():
    data = np.random.default_rng(0).bytes(300)
    crc = 0
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc & 0x80000000 else 0)) & 0xFFFFFFFF
    assert _checksum(data) == crc


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_ogg_with_a_flipped_byte_or_a_missing_page_is_rejected(subtype):
    ogg = encoded(noise(3.0), "OGG", subtype)
    starts = pages(ogg)
    for place in range(starts[2] + 30, len(ogg), len(ogg) // 40):
        assert "damaged" in rejected(ogg[:place] + bytes([ogg[place] ^ 1]) + ogg[place + 1 :])
    for start, end in pairwise(starts[2:]):
        assert "damaged" in rejected(ogg[:start] + ogg[end:])
    assert "end mark" in rejected(ogg[: starts[-1]])
    assert len(load_audio(ogg + b"\0tag")) == 3 * RATE


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_ogg_of_two_recordings_is_rejected_not_read_to_the_first_end(subtype):
    assert "several recordings" in rejected(encoded(noise(), "OGG", subtype) + encoded(noise(0.5), "OGG", subtype))


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [("W64", "PCM_16"), ("RF64", "PCM_16"), ("VOC", "PCM_16"), ("NIST", "PCM_16"), ("CAF", "PCM_16"),
     ("CAF", "ALAC_16"), ("AIFF", "ULAW"), ("AIFF", "PCM_16"), ("AIFF", "IMA_ADPCM"), ("WAV", "PCM_24"),
     ("WAV", "MS_ADPCM"), ("AU", "FLOAT")],
)  # fmt: skip
def test_container_that_counts_its_sound_rejects_a_cut(kind, subtype):
    whole = encoded(noise(), kind, subtype)
    assert len(load_audio(whole)) >= RATE
    for lost in (10, 100, 500, len(whole) // 2):
        assert rejected(whole[:-lost])
        assert rejected(whole[: len(whole) // 2] + whole[len(whole) // 2 + lost :])


def test_rf64_and_wav_with_contradictory_numbers_are_rejected():
    for kind in ("WAV", "RF64", "W64"):
        whole = encoded(noise(), kind, "PCM_16")
        place = whole.index(struct.pack("<II", RATE, 2 * RATE))
        assert "48000 Hz" in rejected(whole[:place] + struct.pack("<I", 48_000) + whole[place + 4 :])
        assert "2 channels" in rejected(whole[: place - 2] + b"\2" + whole[place - 1 :])


def test_wav_with_a_wrong_count_and_a_right_file_size_is_read_completely():
    wav = encoded(noise(), "WAV", "PCM_16")
    counted = wav[:40] + struct.pack("<I", 2 * RATE + 36) + wav[44:]
    np.testing.assert_array_equal(load_audio(counted), load_audio(wav))
    assert "damaged" in rejected(wav[:-36])


@pytest.mark.parametrize("tag", [40, 100, 9000, 300_000])
def test_mp3_cut_behind_a_tag_of_any_size_is_rejected(tag):
    mp3 = with_id3(constant_mp3(), tag)
    assert len(load_audio(mp3)) == RATE
    assert rejected(mp3[: tag + (len(mp3) - tag) // 2])
    assert rejected(mp3[: tag // 2 + 5])


def test_mp3_with_a_gap_or_other_frames_is_rejected():
    mp3 = constant_mp3()
    frame = len(mp3) // 3
    assert "no frame" in rejected(without_xing(mp3)[:frame] + without_xing(mp3)[frame + 100 :])
    assert "frames" in rejected(mp3 + mp3)
    assert "checksum" in rejected(mp3.replace(b"LAME3.100", b"LAME3.101", 1))
    assert "incomplete" in rejected(without_xing(mp3)[:-20])
    assert len(load_audio(mp3 + b"TAG" + bytes(125))) == RATE


def test_mp3_without_a_xing_header_is_read_completely_or_rejected():
    assert len(load_audio(without_xing(constant_mp3()))) >= RATE
    variable = constant_mp3(bitrate_mode="VARIABLE")
    assert len(load_audio(variable)) == RATE
    # libsndfile guesses its length by the first frame, and reads no further.
    assert "no length" in rejected(without_xing(variable))


def test_mp3_with_a_vbri_header_is_counted_by_it():
    mp3 = constant_mp3()
    head = mp3[: mp3.index(b"\xff\xf3", 4)]
    vbri = b"VBRI" + struct.pack(">HHHII", 1, 0, 75, len(mp3), 30) + bytes(12)
    frames = len(without_xing(mp3)) // len(head)
    for counted, kept in ((frames, True), (frames + 5, False)):
        vbri = b"VBRI" + struct.pack(">HHHII", 1, 0, 75, len(mp3), counted) + bytes(12)
        changed = (head[:4] + bytes(32) + vbri).ljust(len(head), b"\0") + without_xing(mp3)
        if kept:
            assert len(load_audio(changed)) >= RATE
        else:
            assert f"counts {counted} frames" in rejected(changed)


@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24"])
def test_flac_samples_are_checked_by_their_digest(subtype):
    stereo = np.stack([noise(), noise()[::-1]], axis=1)
    flac = encoded(stereo, "FLAC", subtype)
    decoded, _ = soundfile.read(io.BytesIO(flac), dtype="float32")
    np.testing.assert_allclose(load_audio(flac), decoded.mean(axis=1), atol=1e-7)
    fewer = int.from_bytes(flac[18:26], "big") - 4096
    assert "MD5" in rejected(flac[:18] + fewer.to_bytes(8, "big") + flac[26:])
    without = flac[:26] + bytes(16) + flac[42:]
    assert len(load_audio(without)) == RATE


def test_samples_far_out_of_scale_get_their_own_advice():
    for samples in (np.full(RATE, 1e20), noise() * 1e20, noise() * 32768.0):
        with pytest.raises(AudioError, match="32768") as caught:
            load_audio(samples)
        assert "float32" not in str(caught.value)
    with pytest.raises(AudioError, match="1e\\+20"):
        load_audio(encoded(np.full(RATE, 1e20), "WAV", "FLOAT"))
    assert np.abs(load_audio(noise() * 20)).max() > 2  # loud, and read as it is
