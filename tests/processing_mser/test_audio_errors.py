# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a recording is said in one line that names it, the value and the fix; so says docs/audio.md."""

import io
import os
import pickle
import re
import struct
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile

from processing_mser import audio_mser
from processing_mser.audio_mser import AudioError, AudioTooLongError, find_audio, load_audio
from processing_mser.windows_mser import read_recording


RATE = 16_000
PAGE = Path(__file__).resolve().parents[2] / "docs" / "audio.md"


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


def without_last_page(ogg: bytes) -> bytes:
    return ogg[: ogg.rindex(b"OggS")]


def with_free_bit_rate() -> bytes:
    """All frames of an MP3 without the index of their bit rate, the upper half of the third byte."""
    options = {"format": "MP3", "bitrate_mode": "CONSTANT", "compression_level": 0.5}
    buffer = io.BytesIO()
    soundfile.write(buffer, tone(1.0), RATE, **options)
    mp3 = bytearray(buffer.getvalue())
    length = mp3.index(mp3[:3], 4)
    for place in range(0, len(mp3), length):
        mp3[place + 2] &= 0x0F
    return bytes(mp3[length:])


def message(source, **options) -> str:
    with pytest.raises(AudioError) as caught:
        load_audio(source, **options)
    text = str(caught.value)
    assert "\n" not in text
    return text


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
def test_an_ogg_file_that_breaks_off_anywhere_is_rejected(subtype):
    whole = encoded(np.random.default_rng(0).normal(scale=0.1, size=3 * RATE), kind="OGG", subtype=subtype)
    pages = [place for place in range(len(whole)) if whole[place : place + 4] == b"OggS"]
    for size in {*range(1, len(whole), len(whole) // 50), *(page + 20 for page in pages), *pages[1:]}:
        assert message(whole[:size])
    assert len(load_audio(whole)) == 3 * RATE


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


def peak_memory():
    """In KiB."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])


def test_a_huge_claimed_length_costs_no_memory():
    claims = [
        with_flac_total(encoded(tone(1.0), kind="FLAC"), 2**36 - 1),
        with_data_length(encoded(tone(1.0)), 0x7F000000),
    ]
    # The peak from here on: what earlier tests took, and let go, would hide it.
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_memory()
    for data in claims:
        assert "is damaged or cut short" in message(data)
        assert "is damaged or cut short" in message(data, max_seconds=30.0)
    assert peak_memory() - before < 100_000


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


@pytest.mark.parametrize("rate", ["16k", [16000, 16000]])
def test_a_rate_that_is_no_number(rate):
    assert "has a sampling rate that is no number (" in message({"array": tone(), "sampling_rate": rate})


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
        assert (error.source, error.problem, error.fix) == ("a.wav", "is empty (0 bytes)", "copy it again")


def test_a_library_that_is_needed_and_absent_is_named(monkeypatch):
    monkeypatch.setattr(audio_mser, "soxr", None)
    assert len(load_audio(tone())) == 8000
    with pytest.raises(ImportError, match="pip install soxr"):
        load_audio({"array": tone(), "sampling_rate": 8000})
    monkeypatch.setattr(audio_mser, "soundfile", None)
    with pytest.raises(ImportError, match="pip install soundfile"):
        load_audio(encoded(tone()))


def skeleton(problem: str) -> str:
    """A problem without its values."""
    problem = re.sub(r"(damaged or cut short|wrong header) \(.*\)", r"\1 (*)", problem)
    return re.sub(r"\d[\d.]*|\([A-Z]\w+[^)]*\)|\(int64\)|: text", "*", problem)


def test_the_page_lists_every_error_and_no_other(tmp_path, monkeypatch):
    whole = encoded(tone(1.0))
    (tmp_path / "a.raw").write_bytes(b"raw")
    (tmp_path / "text.wav").write_text("text")
    (tmp_path / "shut.wav").write_bytes(whole)
    (tmp_path / "failing.wav").write_bytes(whole)

    def failing_open(path, *args):
        """A disk that fails, and a file that may not be read: neither can be had for the asking."""
        number = {"failing.wav": 5, "shut.wav": 13}.get(Path(path).name)
        if number is not None:
            raise OSError(number, os.strerror(number), str(path))
        return open(path, *args)

    monkeypatch.setattr(audio_mser, "open", failing_open, raising=False)
    sources = [
        tmp_path / "none.wav",
        tmp_path,
        "/dev/null",
        "https://example.org/a.wav",
        tmp_path / "shut.wav",
        tmp_path / "failing.wav",
        b"",
        b"text",
        tmp_path / "a.raw",
        whole[:16000],
        encoded(np.random.default_rng(0).normal(scale=0.1, size=RATE), kind="MP3")[:2000],
        with_data_length(whole, 0),
        with_flac_total(encoded(tone(), kind="FLAC"), 0),
        np.zeros(0),
        tone(0.05),
        tone(2.5),
        np.zeros(RATE),
        np.full(RATE, np.nan),
        np.full(RATE, 1e20),
        encoded(tone(0.2), kind="OGG", subtype="OPUS") * 2,
        without_last_page(encoded(tone(1.9), kind="OGG", subtype="OPUS")),
        with_free_bit_rate(),
        {"array": tone(), "sampling_rate": 100},
        {"array": tone(), "sampling_rate": "16k"},
        {"array": tone()},
        np.ones((1, 2, 8000)),
        np.ones(RATE, np.int64),
        {"text": "hi"},
        None,
    ]
    problems = []
    for source in sources:
        with pytest.raises(AudioError) as caught:
            load_audio(source, max_seconds=2.0)
        problems.append(caught.value.problem)
    with open(tmp_path / "text.wav") as file, pytest.raises(AudioError) as caught:
        load_audio(file)
    problems.append(caught.value.problem)

    def no_memory(arrays):
        raise MemoryError

    recording = read_recording(tone(), held_samples=100)
    recording.source.resize(4000, refcheck=False)
    with pytest.raises(AudioError) as caught:
        list(recording.windows())
    problems.append(caught.value.problem)
    monkeypatch.setattr(audio_mser.np, "concatenate", no_memory)
    with pytest.raises(AudioTooLongError) as caught:
        load_audio(tone())
    problems.append(caught.value.problem)
    monkeypatch.undo()

    section = PAGE.read_text(encoding="utf-8").split("\n## Errors\n")[1]
    listed = re.findall(r"^\| `(.*?)` \|", section, re.MULTILINE)
    assert {skeleton(problem) for problem in listed} == {skeleton(problem) for problem in problems}
