# SPDX-License-Identifier: Apache-2.0
import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from processing_mser.audio_mser import AudioTooLongError, cut_windows, find_audio, load_audio


RATE = 16_000


def tone(seconds: float = 0.5, rate: int = RATE, hertz: float = 220.0) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    return (0.4 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def encoded(samples: np.ndarray, rate: int = RATE, kind: str = "WAV", subtype: str | None = None) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, subtype=subtype)
    return buffer.getvalue()


# Every form of a source


def test_every_form_of_a_source_gives_the_same_waveform(tmp_path, monkeypatch):
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


def test_a_decoder_with_get_all_samples_is_read():
    class Samples:
        data = torch.from_numpy(np.stack([tone(rate=8000), -0.5 * tone(rate=8000)]))
        sample_rate = 8000

    class Decoder:
        def get_all_samples(self):
            return Samples()

    np.testing.assert_array_equal(
        load_audio(Decoder()), load_audio({"array": 0.25 * tone(rate=8000), "sampling_rate": 8000})
    )


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
def test_every_format_is_told_by_its_content_not_its_name(tmp_path, kind, subtype, tolerance):
    path = tmp_path / "named.wav"
    path.write_bytes(encoded(tone(), RATE, kind, subtype))
    waveform = load_audio(path)
    assert len(waveform) == 8000
    # The start apart, where a lossy codec has not swung in.
    assert np.abs(waveform[800:-800] - tone()[800:-800]).max() <= tolerance


@pytest.mark.parametrize("rate", [1000, 8000, 11025, 22050, 44100, 48000, 96000, 768_000])
def test_any_sane_rate_is_resampled_without_a_shift(rate):
    waveform = load_audio({"array": tone(1.0, rate), "sampling_rate": rate})
    assert len(waveform) == RATE
    assert np.abs(waveform[1600:-1600] - tone(1.0)[1600:-1600]).max() < 2e-3


def test_resampling_removes_what_the_lower_rate_cannot_hold():
    high = {"array": tone(1.0, 48_000, hertz=12_000), "sampling_rate": 48_000}
    assert np.abs(load_audio(high)[1600:-1600]).max() < 1e-3


def test_another_rate_can_be_asked_for():
    assert len(load_audio({"array": tone(), "sampling_rate": RATE}, sampling_rate=8000)) == 4000
    assert len(load_audio(tone(0.5, 8000), sampling_rate=8000)) == 4000


@pytest.mark.parametrize("channels", [2, 6])
def test_channels_are_averaged_whichever_axis_they_are_on(channels):
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
def test_integers_are_scaled_by_their_type_and_floats_are_not(dtype, lowest, highest):
    ends = (np.iinfo(dtype).min, np.iinfo(dtype).max) if np.dtype(dtype).kind in "iu" else (-1.0, 1.0)
    samples = np.tile(np.array(ends, dtype), 1000)
    for form in (samples, torch.from_numpy(samples)):
        waveform = load_audio(form)
        assert waveform.dtype == np.float32
        assert waveform.min() == pytest.approx(lowest)
        assert waveform.max() == pytest.approx(highest)


def test_bfloat16_which_numpy_lacks_is_read():
    waveform = load_audio(torch.from_numpy(tone()).to(torch.bfloat16))
    np.testing.assert_allclose(waveform, tone(), atol=2e-3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_tensor_on_a_gpu_is_read():
    np.testing.assert_array_equal(load_audio(torch.from_numpy(tone()).cuda()), tone())


def test_sixteen_bit_arrays_and_files_agree():
    samples = np.round(tone() * 32767).astype(np.int16)
    np.testing.assert_array_equal(load_audio(samples), load_audio(encoded(samples)))


def test_the_callers_array_is_left_alone():
    samples = tone()
    waveform = load_audio(samples)
    waveform[:] = 0
    np.testing.assert_array_equal(samples, tone())


# Long audio


def test_a_bound_raises_and_never_cuts():
    exactly = load_audio(tone(2.0), max_seconds=2.0)
    assert len(exactly) == 2 * RATE
    for source in (tone(2.1), encoded(tone(2.1)), encoded(tone(2.1), kind="OGG", subtype="OPUS")):
        with pytest.raises(AudioTooLongError, match=r"is too long \(2.1 s, the most is 2 s\)"):
            load_audio(source, max_seconds=2.0)
        assert len(load_audio(source)) == pytest.approx(2.1 * RATE, abs=1)


@pytest.mark.parametrize("rate", [8000, 11_025, 44_100, 48_000])
def test_thirty_seconds_at_any_rate_are_thirty_seconds(rate):
    assert len(load_audio({"array": tone(30.0, rate), "sampling_rate": rate}, max_seconds=30.0)) == 30 * RATE


def test_a_recording_longer_than_a_block_is_read_whole():
    samples = np.random.default_rng(0).normal(scale=0.1, size=(400_000, 6)).astype(np.float32)
    expected = samples.astype(np.float64).mean(1)
    np.testing.assert_allclose(load_audio(encoded(samples, subtype="FLOAT")), expected, atol=1e-6)


@pytest.mark.parametrize("samples", [1, 100, 101, 199, 200, 201, 1001])
def test_windows_are_few_equal_and_lose_nothing(samples):
    waveform = np.arange(samples)
    windows = cut_windows(waveform, sampling_rate=100, window_seconds=1.0)
    lengths = [len(window) for window in windows]
    np.testing.assert_array_equal(np.concatenate(windows), waveform)
    assert len(windows) == -(-samples // 100)
    assert max(lengths) <= 100
    assert max(lengths) - min(lengths) <= 1


def test_by_default_a_window_is_thirty_seconds_at_sixteen_kilohertz():
    assert [len(window) for window in cut_windows(np.zeros(480_000))] == [480_000]
    assert [len(window) for window in cut_windows(np.zeros(480_001))] == [240_001, 240_000]
    with pytest.raises(ValueError, match="window_seconds is 0"):
        cut_windows(np.zeros(10), window_seconds=0)


# Finding files


def test_folders_are_searched_and_files_are_kept_as_given(tmp_path):
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


def test_links_to_folders_are_followed_and_no_folder_is_searched_twice(tmp_path):
    for name in ["elsewhere/happy/a.wav", "in/own.wav", "in/deep/b.wav"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    top = tmp_path / "in"
    (top / "speaker").symlink_to(tmp_path / "elsewhere" / "happy")
    (top / "deep" / "back").symlink_to(top)
    assert find_audio([top]) == [top / "deep" / "b.wav", top / "own.wav", top / "speaker" / "a.wav"]


def test_the_home_folder_is_expanded(tmp_path, monkeypatch):
    (tmp_path / "a.wav").touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_audio(["~"]) == [tmp_path / "a.wav"]
    assert find_audio(["~no_such_user_here/a.wav"]) == [Path("~no_such_user_here/a.wav")]


def test_real_recordings_are_all_read(corpora_dir):
    files = find_audio([corpora_dir])
    assert len(files) > 100
    for path in files[:: len(files) // 20]:
        waveform = load_audio(path, max_seconds=30.0)
        assert len(waveform) / RATE == pytest.approx(soundfile.info(path).duration, abs=1e-3)
