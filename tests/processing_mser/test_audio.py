# SPDX-License-Identifier: Apache-2.0
import io
import os
import pickle
import resource
import struct
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from processing_mser import audio_mser
from processing_mser.audio_mser import AudioError, AudioTooLongError, cut_windows, find_audio, load_audio


RATE = 16_000


def tone(seconds: float = 0.5, rate: int = RATE, hertz: float = 220.0) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    return (0.4 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def encoded(samples: np.ndarray, rate: int = RATE, kind: str = "WAV", subtype: str | None = None) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, subtype=subtype)
    return buffer.getvalue()


def with_data_length(wav: bytes, length: int) -> bytes:
    place = wav.index(b"data") + 4
    return wav[:place] + struct.pack("<I", length) + wav[place + 4 :]


def with_flac_total(flac: bytes, samples: int) -> bytes:
    """The 36-bit count of samples in FLAC's first metadata block (RFC 9639, section 8.2)."""
    fields = int.from_bytes(flac[18:26], "big") >> 36 << 36 | samples
    return flac[:18] + fields.to_bytes(8, "big") + flac[26:]


def message(source, **options) -> str:
    with pytest.raises(AudioError) as caught:
        load_audio(source, **options)
    text = str(caught.value)
    assert "\n" not in text
    return text


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


# Every error names the file, the value and the cure


def test_a_missing_file(tmp_path):
    path = tmp_path / "none.wav"
    assert message(path) == f"{path}: is missing (no such file); check the path {path}"
    (tmp_path / "link.wav").symlink_to(path)
    assert "is missing" in message(tmp_path / "link.wav")


def test_a_folder(tmp_path):
    assert message(tmp_path).startswith(f"{tmp_path}: is a folder")
    assert "is a folder" in message("")


@pytest.fixture
def as_nobody():
    """A folder that anyone may enter, and the rights of a user who does not own what is in it: root may read all."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        is_root = os.geteuid() == 0
        if is_root:
            os.seteuid(65534)
        try:
            yield Path(folder)
        finally:
            if is_root:
                os.seteuid(0)


def test_a_file_that_may_not_be_read(as_nobody):
    path = as_nobody / "it's private.wav"
    with owner():
        write(path)
        path.chmod(0)
    quoted = "'" + str(path).replace("'", "'\"'\"'") + "'"
    assert message(path) == f"{path}: may not be read (permission denied); allow it: chmod u+rX {quoted}"


def test_a_folder_that_may_not_be_searched_is_named_and_the_others_are_found(as_nobody):
    with owner():
        write(as_nobody / "open" / "a.wav")
        write(as_nobody / "shut" / "b.wav")
        (as_nobody / "shut").chmod(0)
    try:
        assert find_audio([as_nobody]) == [as_nobody / "open" / "a.wav", as_nobody / "shut"]
        assert "may not be read (permission denied)" in message(as_nobody / "shut")
        assert "may not be read (permission denied)" in message(as_nobody / "shut" / "b.wav")
    finally:
        with owner():
            (as_nobody / "shut").chmod(0o755)


@contextmanager
def owner():
    user = os.geteuid()
    os.seteuid(os.getuid())
    yield
    os.seteuid(user)


def write(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(encoded(tone()))


def test_a_pipe_is_refused_before_it_is_waited_on(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    assert "is a device or a pipe" in message(tmp_path / "pipe.wav")
    assert "is a device or a pipe" in message("/dev/zero")


def test_an_empty_file(tmp_path):
    (tmp_path / "a.wav").touch()
    assert message(tmp_path / "a.wav").endswith("a.wav: is empty (0 bytes); copy or record it again")
    assert message(b"").startswith("<bytes>: is empty (0 bytes)")
    assert message({"bytes": b"", "path": "x.wav"}).startswith("x.wav: is empty")


@pytest.mark.parametrize(
    "data",
    [b"This is a text.\n" * 100, bytes(5000), b"RIFF", b"RIFF\0\0\0\0WAVE", b"fLaC" + bytes(100), b"OggS" + bytes(99)],
)
def test_what_is_not_audio(tmp_path, data):
    path = tmp_path / "a b.wav"
    path.write_bytes(data)
    text = message(path)
    assert "is not audio that can be read (" in text
    assert f"ffmpeg -i '{path}' out.wav" in text


def test_every_beginning_of_a_file_is_read_whole_or_refused_with_an_audio_error():
    """Whatever is cut off where, there is neither a crash nor a result much shorter than the recording."""
    refused = 0
    for kind, subtype in [("WAV", "PCM_16"), ("AIFF", "PCM_16"), ("FLAC", "PCM_16"), ("MP3", "MPEG_LAYER_III")]:
        whole = encoded(tone(1.0), kind=kind, subtype=subtype)
        for size in np.linspace(0, len(whole), 40, dtype=int):
            try:
                waveform = load_audio(whole[:size])
            except AudioError:
                refused += 1
            else:
                assert len(waveform) > 0.9 * RATE, (kind, size)
    assert refused > 120


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_file_that_breaks_off_within_a_page_is_refused(subtype):
    whole = encoded(np.random.default_rng(0).normal(scale=0.1, size=3 * RATE), kind="OGG", subtype=subtype)
    pages = [place for place in range(len(whole)) if whole[place : place + 4] == b"OggS"]
    for size in {*range(1, len(whole), len(whole) // 50), *(page + 20 for page in pages)} - set(pages):
        assert message(whole[:size])
    # Between two pages it cannot be told from a recorder that was switched off.
    assert len(load_audio(whole[: pages[-1]])) < len(load_audio(whole)) == 3 * RATE


def test_a_file_that_breaks_off_says_how_much_is_there():
    for kind, header in [("WAV", 44), ("AU", 24)]:
        text = message(encoded(tone(1.0), kind=kind)[:16000])
        assert f"is damaged or cut short (its header counts 32000 bytes, {16000 - header} are there)" in text
    assert "is damaged or cut short" in message(encoded(tone(1.0), kind="AIFF")[:16000])
    assert "is damaged or cut short (its header counts " in message(encoded(tone(1.0), subtype="IMA_ADPCM")[:6000])


def test_a_header_that_counts_less_than_there_is():
    text = message(with_data_length(encoded(tone(1.0)), 0))
    assert "has a wrong header (it counts 0 bytes of sound, 32000 are there)" in text
    assert "ffmpeg -ignore_length 1 -i FILE out.wav" in text
    assert "it counts 8000 bytes" in message(with_data_length(encoded(tone(1.0)), 8000))


@pytest.mark.parametrize("length", [0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000, 0x80000000])
def test_the_lengths_that_writers_to_a_pipe_put_are_read_to_the_end(length):
    wav = encoded(tone(1.0))
    np.testing.assert_array_equal(load_audio(with_data_length(wav, length)), load_audio(wav))


def test_a_wrong_length_of_the_whole_riff_does_not_matter():
    wav = encoded(tone(1.0))
    for length in (0, 1000, 0xFFFFFFFF):
        changed = wav[:4] + struct.pack("<I", length) + wav[8:]
        np.testing.assert_array_equal(load_audio(changed), load_audio(wav))


def test_chunks_before_and_after_the_sound_are_no_fault():
    wav = encoded(tone(1.0))
    long_tag = b"LIST" + struct.pack("<I", 9001) + bytes(9002)
    place = wav.index(b"data")
    for changed in (wav + long_tag, wav[:place] + long_tag + wav[place:], wav + b"\0" * 100):
        np.testing.assert_array_equal(load_audio(changed), load_audio(wav))


def test_a_huge_claimed_length_costs_no_memory():
    claims = [
        with_flac_total(encoded(tone(1.0), kind="FLAC"), 2**36 - 1),
        with_data_length(encoded(tone(1.0)), 0x7F000000),
    ]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for data in claims:
        assert "is damaged or cut short" in message(data)
        assert "is damaged or cut short" in message(data, max_seconds=30.0)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


def test_a_stream_without_a_length_is_refused_not_shortened():
    data = with_flac_total(encoded(tone(1.0), kind="FLAC"), 0)
    assert "<bytes>: gives no length in its header; rewrite it: ffmpeg -i FILE out.wav" in message(data)


def test_a_header_without_sound():
    assert "holds no sound (0 samples)" in message(encoded(tone(0.0)))
    assert "holds no sound (0 samples)" in message(np.zeros(0))
    assert "holds no sound (0 samples)" in message(np.zeros((2, 0)))


def test_silence():
    assert "is silent (every sample is 0)" in message(np.zeros(RATE))
    assert "is silent (every sample is 0)" in message(encoded(np.zeros(RATE)))


def test_channels_that_cancel_out():
    both = np.stack([tone(), -tone()], axis=1)
    assert "if two channels cancel, keep one" in message(encoded(both, subtype="FLOAT"))
    assert "if two channels cancel, keep one" in message(both)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity(bad):
    samples = tone()
    samples[[10, 20]] = bad
    for source in (samples, encoded(samples, subtype="FLOAT"), encoded(samples.astype(np.float64), subtype="DOUBLE")):
        assert "holds NaN or infinite samples (2 of 8000)" in message(source)


def test_double_precision_beyond_single_precision_is_infinite():
    assert "infinite" in message(np.full(RATE, 1e300))


def test_too_short():
    assert "is too short (0.050 s, the least is 0.1 s)" in message(tone(0.05))
    assert "is too short (0.050 s" in message(encoded(tone(0.05, 48_000), 48_000))
    assert len(load_audio(tone(0.1))) == 1600


@pytest.mark.parametrize("rate", [0, 100, 999, 768_001, 10**9, -16_000, 16_000.5, float("nan")])
def test_an_absurd_rate(rate):
    assert "has an absurd sampling rate (" in message({"array": tone(), "sampling_rate": rate})


def test_an_absurd_rate_in_a_header():
    assert "has an absurd sampling rate (100 Hz)" in message(encoded(tone(), 100))


def test_an_array_without_a_rate():
    assert 'give {"array": ..., "sampling_rate": ...}' in message({"array": tone()})


@pytest.mark.parametrize("samples", [np.ones(RATE, np.int64), np.ones(RATE, bool), np.ones(RATE, np.complex64)])
def test_samples_of_a_type_without_a_scale(samples):
    assert f"({samples.dtype})" in message(samples)


def test_the_wrong_number_of_axes():
    assert "(1, 2, 8000)" in message(np.ones((1, 2, 8000), np.float32))


@pytest.mark.parametrize("url", ["http://example.org/a.wav", "https://example.org/a.wav", "s3://bucket/a.wav"])
def test_a_url(url):
    assert message(url) == f"{url}: is a URL, not a file; download it first and give the path"


def test_a_text_file_object(tmp_path):
    (tmp_path / "a.wav").write_text("text")
    with open(tmp_path / "a.wav") as file:
        assert 'is open as text; open it with mode "rb"' in message(file)


def test_raw_samples(tmp_path):
    (tmp_path / "a.raw").write_bytes(tone().tobytes())
    assert "raw samples without a header" in message(tmp_path / "a.raw")


@pytest.mark.parametrize("source", [None, 3.5, object(), {}, {"bytes": None, "path": None}, {"text": "hi"}])
def test_what_is_no_source_at_all(source):
    assert "no form of audio" in message(source) or "holds no audio" in message(source)


def test_a_line_break_in_a_name_stays_in_one_line(tmp_path):
    path = tmp_path / "two\nlines\udcff  spaces.wav"
    text = message(path)
    assert "two\\nlines\\udcff  spaces.wav: is missing" in text
    text.encode()


def test_errors_survive_a_worker_process():
    for kind in (AudioError, AudioTooLongError):
        error = pickle.loads(pickle.dumps(kind("a.wav", "is empty (0 bytes)", "copy it again")))
        assert type(error) is kind
        assert str(error) == "a.wav: is empty (0 bytes); copy it again"
        assert (error.source, error.problem, error.cure) == ("a.wav", "is empty (0 bytes)", "copy it again")


def test_a_library_that_is_needed_and_absent_is_named(monkeypatch):
    monkeypatch.setattr(audio_mser, "soxr", None)
    assert len(load_audio(tone())) == 8000
    with pytest.raises(ImportError, match="pip install soxr"):
        load_audio({"array": tone(), "sampling_rate": 8000})
    monkeypatch.setattr(audio_mser, "soundfile", None)
    with pytest.raises(ImportError, match="pip install soundfile"):
        load_audio(encoded(tone()))


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
    assert "is a folder" in message(tmp_path / "empty")


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
