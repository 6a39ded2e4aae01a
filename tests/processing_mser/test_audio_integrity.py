# SPDX-License-Identifier: Apache-2.0
"""Files with missing or contradictory parts are rejected, in every container that allows to detect it."""

import io
import struct
from itertools import pairwise

import numpy as np
import pytest
import soundfile
from audio_files import RATE, constant_mp3, encoded, noise, ogg_pages, with_flac_total, with_id3, without_xing

from processing_mser.audio_mser import AudioError, load_audio


def rejected(data: bytes) -> str:
    with pytest.raises(AudioError) as caught:
        load_audio(data)
    return caught.value.problem


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_ogg_with_a_flipped_byte_or_missing_page_is_rejected(subtype):
    ogg = encoded(noise(3.0), "OGG", subtype)
    starts = ogg_pages(ogg)
    for place in range(starts[2] + 30, len(ogg), len(ogg) // 40):
        assert "damaged" in rejected(ogg[:place] + bytes([ogg[place] ^ 1]) + ogg[place + 1 :])
    for start, end in pairwise(starts[2:]):
        assert "damaged" in rejected(ogg[:start] + ogg[end:])
    assert "end mark" in rejected(ogg[: starts[-1]])
    assert "several recordings" in rejected(ogg + ogg)
    assert len(load_audio(ogg + b"\0tag")) == 3 * RATE


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [("W64", "PCM_16"), ("RF64", "PCM_16"), ("VOC", "PCM_16"), ("NIST", "PCM_16"), ("CAF", "PCM_16"),
     ("CAF", "ALAC_16"), ("AIFF", "ULAW"), ("AIFF", "PCM_16"), ("AIFF", "IMA_ADPCM"), ("WAV", "PCM_24"),
     ("WAV", "MS_ADPCM"), ("AU", "FLOAT")],
)  # fmt: skip
def test_container_with_a_length_rejects_a_cut(kind, subtype):
    complete = encoded(noise(), kind, subtype)
    assert len(load_audio(complete)) >= RATE
    for lost in (10, 100, 500, len(complete) // 2):
        assert rejected(complete[:-lost])
        assert rejected(complete[: len(complete) // 2] + complete[len(complete) // 2 + lost :])


def test_wav_family_with_contradictory_numbers_is_rejected():
    for kind in ("WAV", "RF64", "W64"):
        complete = encoded(noise(), kind, "PCM_16")
        place = complete.index(struct.pack("<II", RATE, 2 * RATE))
        assert "48000 Hz" in rejected(complete[:place] + struct.pack("<I", 48_000) + complete[place + 4 :])
        assert "2 channels" in rejected(complete[: place - 2] + b"\2" + complete[place - 1 :])


def test_wav_with_wrong_data_size_and_right_file_size_is_read():
    wav = encoded(noise(), "WAV", "PCM_16")
    counted = wav[:40] + struct.pack("<I", 2 * RATE + 36) + wav[44:]
    np.testing.assert_array_equal(load_audio(counted), load_audio(wav))
    assert "damaged" in rejected(wav[:-36])


@pytest.mark.parametrize("tag", [40, 100, 9000, 300_000])
def test_mp3_cut_after_a_tag_of_any_size_is_rejected(tag):
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
    # libsndfile estimates the length from the first frame and stops there.
    assert "no length" in rejected(without_xing(variable))


def test_mp3_frames_are_compared_with_a_vbri_header():
    mp3 = constant_mp3()
    head = mp3[: mp3.index(b"\xff\xf3", 4)]
    frames = len(without_xing(mp3)) // len(head)
    for counted, complete in ((frames, True), (frames + 5, False)):
        vbri = b"VBRI" + struct.pack(">HHHII", 1, 0, 75, len(mp3), counted) + bytes(12)
        changed = (head[:4] + bytes(32) + vbri).ljust(len(head), b"\0") + without_xing(mp3)
        if complete:
            assert len(load_audio(changed)) >= RATE
        else:
            assert f"{counted} frames" in rejected(changed)


@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24"])
def test_flac_samples_are_compared_with_their_md5(subtype):
    stereo = np.stack([noise(), noise()[::-1]], axis=1)
    flac = encoded(stereo, "FLAC", subtype)
    decoded, _ = soundfile.read(io.BytesIO(flac), dtype="float32")
    np.testing.assert_allclose(load_audio(flac), decoded.mean(axis=1), atol=1e-7)
    assert "MD5" in rejected(with_flac_total(flac, RATE - 4096))
    without = flac[:26] + bytes(16) + flac[42:]
    assert len(load_audio(without)) == RATE
