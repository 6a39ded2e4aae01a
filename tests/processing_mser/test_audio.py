# SPDX-License-Identifier: Apache-2.0
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from audio_files import RATE, encoded, tone

from processing_mser.audio_mser import AudioTooLongError, cut_windows, find_audio, load_audio


def test_load_audio_reads_every_source_form_alike(tmp_path, monkeypatch):
    expected = tone()
    data = encoded(expected, subtype="FLOAT")
    path = tmp_path / "a b.wav"
    path.write_bytes(data)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with open(path, "rb") as file:
        forms = {
            "str": load_audio(str(path)),
            "Path": load_audio(path),
            "relative": load_audio("a b.wav"),
            "home": load_audio("~/a b.wav"),
            "bytes": load_audio(data),
            "bytearray": load_audio(bytearray(data)),
            "file object": load_audio(file),
            "BytesIO": load_audio(io.BytesIO(data)),
            "array and rate": load_audio({"array": expected, "sampling_rate": RATE, "path": None}),
            "list and rate": load_audio({"array": expected.tolist(), "sampling_rate": RATE}),
            "bytes and path": load_audio({"bytes": data, "path": "elsewhere.wav"}),
            "bytes, no path": load_audio({"bytes": data, "path": None}),
            "no bytes, path": load_audio({"bytes": None, "path": str(path)}),
            "numpy": load_audio(expected),
            "torch": load_audio(torch.from_numpy(expected)),
            "torch with gradient": load_audio(torch.from_numpy(expected).clone().requires_grad_()),
        }
    for form, waveform in forms.items():
        assert waveform.dtype == np.float32, form
        assert waveform.ndim == 1, form
        np.testing.assert_array_equal(waveform, expected, err_msg=form)
    forms["numpy"][:] = 0
    np.testing.assert_array_equal(expected, tone(), err_msg="the array was not copied")
    np.testing.assert_allclose(load_audio(torch.from_numpy(expected).to(torch.bfloat16)), expected, atol=2e-3)


def test_load_audio_reads_torchcodec_decoder():
    class Samples:
        data = torch.from_numpy(np.stack([tone(rate=8000), -0.5 * tone(rate=8000)]))
        sample_rate = 8000

    class Decoder:
        def get_all_samples(self):
            return Samples()

    expected = load_audio({"array": 0.25 * tone(rate=8000), "sampling_rate": 8000})
    np.testing.assert_array_equal(load_audio(Decoder()), expected)


@pytest.mark.parametrize(
    ("kind", "subtype", "tolerance"),
    [
        ("WAV", "PCM_U8", 1 / 64),
        ("WAV", "PCM_16", 1e-4),
        ("WAV", "PCM_24", 1e-6),
        ("WAV", "PCM_32", 1e-6),
        ("WAV", "FLOAT", 0),
        ("WAV", "DOUBLE", 0),
        ("WAV", "ULAW", 0.02),
        ("WAVEX", "PCM_16", 1e-4),
        ("RF64", "PCM_16", 1e-4),
        ("W64", "PCM_16", 1e-4),
        ("FLAC", "PCM_16", 1e-4),
        ("FLAC", "PCM_24", 1e-6),
        ("AIFF", "PCM_16", 1e-4),
        ("AU", "PCM_16", 1e-4),
        ("CAF", "PCM_16", 1e-4),
        ("NIST", "PCM_16", 1e-4),
        ("OGG", "VORBIS", 0.1),
        ("OGG", "OPUS", 0.1),
        ("MP3", "MPEG_LAYER_III", 0.1),
    ],
)
def test_load_audio_detects_the_format_from_the_content(tmp_path, kind, subtype, tolerance):
    path = tmp_path / "named.wav"
    path.write_bytes(encoded(tone(), kind, subtype))
    waveform = load_audio(path)
    assert len(waveform) == 8000
    # Lossy codecs distort the start and end.
    assert np.abs(waveform[800:-800] - tone()[800:-800]).max() <= tolerance


@pytest.mark.parametrize("rate", [1000, 8000, 11025, 22050, 44100, 48000, 96000, 768_000])
def test_load_audio_resamples_without_a_shift_or_alias(rate):
    waveform = load_audio({"array": tone(1.0, rate), "sampling_rate": rate})
    assert len(waveform) == RATE
    assert np.abs(waveform[1600:-1600] - tone(1.0)[1600:-1600]).max() < 2e-3
    assert len(load_audio(tone(0.5, rate), sampling_rate=rate)) == rate // 2
    # Frequencies above the new limit are removed.
    high = {"array": tone(1.0, rate, hertz=12_000), "sampling_rate": rate}
    assert rate < 44_100 or np.abs(load_audio(high)[1600:-1600]).max() < 1e-3


@pytest.mark.parametrize("channels", [2, 6])
def test_channels_on_either_axis_are_averaged(channels):
    many = np.stack([tone(hertz=100 * (k + 1)) for k in range(channels)])
    expected = many.astype(np.float64).mean(0)
    np.testing.assert_allclose(load_audio(many), expected, atol=1e-6)
    np.testing.assert_allclose(load_audio(many.T), expected, atol=1e-6)
    np.testing.assert_allclose(load_audio(torch.from_numpy(many)), expected, atol=1e-6)
    np.testing.assert_allclose(load_audio(encoded(many.T, subtype="FLOAT")), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "lowest", "highest"),
    [
        (np.int8, -1.0, 127 / 128),
        (np.int16, -1.0, 32767 / 32768),
        (np.int32, -1.0, 1.0),
        (np.uint8, -1.0, 127 / 128),
        (np.float16, -1.0, 1.0),
        (np.float64, -1.0, 1.0),
    ],
)
def test_integers_are_scaled_by_type_and_floats_are_not(dtype, lowest, highest):
    ends = (np.iinfo(dtype).min, np.iinfo(dtype).max) if np.dtype(dtype).kind in "iu" else (-1.0, 1.0)
    samples = np.tile(np.array(ends, dtype), 1000)
    for form in (samples, torch.from_numpy(samples)):
        waveform = load_audio(form)
        assert waveform.dtype == np.float32
        assert waveform.min() == pytest.approx(lowest)
        assert waveform.max() == pytest.approx(highest)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_load_audio_reads_cuda_tensor():
    np.testing.assert_array_equal(load_audio(torch.from_numpy(tone()).cuda()), tone())


def test_int16_arrays_and_files_give_equal_samples():
    samples = np.round(tone() * 32767).astype(np.int16)
    np.testing.assert_array_equal(load_audio(samples), load_audio(encoded(samples)))


def test_max_seconds_raises_and_never_cuts():
    exactly = load_audio(tone(2.0), max_seconds=2.0)
    assert len(exactly) == 2 * RATE
    for source in (tone(2.1), encoded(tone(2.1)), encoded(tone(2.1), kind="OGG", subtype="OPUS")):
        with pytest.raises(AudioTooLongError, match=r"2\.1 s"):
            load_audio(source, max_seconds=2.0)
        assert len(load_audio(source)) == pytest.approx(2.1 * RATE, abs=1)


@pytest.mark.parametrize("rate", [8000, 11_025, 44_100, 48_000])
def test_max_seconds_accepts_30_s_at_any_rate(rate):
    assert len(load_audio({"array": tone(30.0, rate), "sampling_rate": rate}, max_seconds=30.0)) == 30 * RATE


def test_recording_longer_than_a_block_is_read_completely():
    samples = np.random.default_rng(0).normal(scale=0.1, size=(400_000, 6)).astype(np.float32)
    expected = samples.astype(np.float64).mean(1)
    np.testing.assert_allclose(load_audio(encoded(samples, subtype="FLOAT")), expected, atol=1e-6)


@pytest.mark.parametrize("samples", [1, 100, 101, 199, 200, 201, 1001])
def test_cut_windows_covers_all_in_few_equal_windows(samples):
    waveform = np.arange(samples)
    windows = cut_windows(waveform, sampling_rate=100, window_seconds=1.0)
    lengths = [len(window) for window in windows]
    np.testing.assert_array_equal(np.concatenate(windows), waveform)
    assert len(windows) == -(-samples // 100)
    assert max(lengths) <= 100
    assert max(lengths) - min(lengths) <= 1
    assert [len(window) for window in cut_windows(np.zeros(480_001))] == [240_001, 240_000]
    with pytest.raises(ValueError, match="window_seconds"):
        cut_windows(waveform, window_seconds=0)


def test_find_audio_searches_folders_and_keeps_files(tmp_path):
    for name in ["b.WAV", "a.flac", "sub/deep/c.opus", "sub/d.m4a", "notes.txt", "._a.wav", ".hidden/e.wav"]:
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    (tmp_path / "empty").mkdir()
    given = [tmp_path / "none.wav", str(tmp_path / "in" / "notes.txt"), tmp_path / "in", tmp_path / "empty"]
    top = tmp_path / "in"
    assert find_audio(given) == [
        tmp_path / "none.wav",
        top / "notes.txt",
        top / "a.flac",
        top / "b.WAV",
        top / "sub" / "d.m4a",
        top / "sub" / "deep" / "c.opus",
        tmp_path / "empty",
    ]


def test_find_audio_follows_links_once(tmp_path):
    for name in ["elsewhere/happy/a.wav", "in/own.wav", "in/deep/b.wav"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    top = tmp_path / "in"
    (top / "speaker").symlink_to(tmp_path / "elsewhere" / "happy")
    (top / "deep" / "back").symlink_to(top)
    assert find_audio([top]) == [top / "deep" / "b.wav", top / "own.wav", top / "speaker" / "a.wav"]


def test_find_audio_expands_the_home_folder(tmp_path, monkeypatch):
    (tmp_path / "a.wav").touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_audio(["~"]) == [tmp_path / "a.wav"]
    assert find_audio(["~no_such_user_here/a.wav"]) == [Path("~no_such_user_here/a.wav")]
