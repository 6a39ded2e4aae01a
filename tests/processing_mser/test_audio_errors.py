# SPDX-License-Identifier: Apache-2.0
"""Unusable audio raises an `AudioError` that names the source, the value and the fix in one line."""

import ast
import errno
import os
import pickle
import re
import struct
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from audio_files import RATE, constant_mp3, encoded, noise, ogg_pages, tone, with_data_length, with_flac_total
from processes import peak_memory, reset_peak_memory

import processing_mser
from processing_mser import audio_mser
from processing_mser.audio_mser import AudioError, AudioTooLongError, find_audio, load_audio


def rejection(source, **options) -> AudioError:
    with pytest.raises(AudioError) as caught:
        load_audio(source, **options)
    assert caught.value.problem and caught.value.fix
    assert "\n" not in str(caught.value)
    return caught.value


def with_nan(samples: np.ndarray, value: float = np.nan) -> np.ndarray:
    samples[[10, 20]] = value
    return samples


def with_free_bit_rate() -> bytes:
    """Clear the index of the bit rate, the upper half of the third byte, in all frames."""
    mp3 = bytearray(constant_mp3())
    length = mp3.index(mp3[:3], 4)
    for place in range(0, len(mp3), length):
        mp3[place + 2] &= 0x0F
    return bytes(mp3[length:])


CANCELLING = np.stack([tone(), -tone()], axis=1)


@pytest.mark.parametrize(
    ("source", "name", "value"),
    [
        ("https://example.org/a.wav", "https://example.org/a.wav", "URL"),
        ("s3://bucket/a.wav", "s3://bucket/a.wav", "URL"),
        ("/dev/zero", "/dev/zero", "device"),
        ("a.raw", "a.raw", ".raw"),
        (b"", "<bytes>", "0 bytes"),
        ({"bytes": b"", "path": "x.wav"}, "x.wav", "0 bytes"),
        (encoded(tone(0.0)), "<bytes>", "0 samples"),
        (np.zeros(0), "<array>", "0 samples"),
        (np.zeros((2, 0)), "<array>", "0 samples"),
        (np.zeros(RATE), "<array>", "silent"),
        (encoded(np.zeros(RATE)), "<bytes>", "silent"),
        (CANCELLING, "<array>", "silent"),
        (encoded(CANCELLING, subtype="FLOAT"), "<bytes>", "silent"),
        (tone(0.05), "<array>", "0.050 s"),
        (encoded(tone(0.05, 48_000), rate=48_000), "<bytes>", "0.050 s"),
        (with_nan(tone()), "<array>", "2 of 8000"),
        (encoded(with_nan(tone(), -np.inf), subtype="FLOAT"), "<bytes>", "2 of 8000"),
        (encoded(with_nan(tone().astype(np.float64)), subtype="DOUBLE"), "<bytes>", "2 of 8000"),
        (np.full(RATE, 1e300), "<array>", f"{RATE} of {RATE}"),
        (np.full(RATE, 1e20), "<array>", "1e+20"),
        (encoded(np.full(RATE, 1e20), subtype="FLOAT"), "<bytes>", "1e+20"),
        (noise() * 32768.0, "<array>", "[-1, 1]"),
        ({"array": tone()}, "<array>", "None"),
        ({"array": tone(), "sampling_rate": "16k"}, "<array>", "'16k'"),
        ({"array": tone(), "sampling_rate": [16000, 16000]}, "<array>", "[16000, 16000]"),
        *[
            ({"array": tone(), "sampling_rate": rate}, "<array>", f"({rate:g} Hz)")
            for rate in (0, 100, 999, 768_001, 10**9, -16_000, 16_000.5, float("nan"))
        ],
        (encoded(tone(), rate=100), "<bytes>", "(100 Hz)"),
        *[(np.ones(RATE, kind), "<array>", f"({np.dtype(kind)})") for kind in (np.int64, bool, np.complex64)],
        (np.ones((1, 2, 8000), np.float32), "<array>", "(1, 2, 8000)"),
        (None, "<NoneType>", "NoneType"),
        (3.5, "<float>", "float"),
        ({}, "<dict>", "none"),
        ({"bytes": None, "path": None}, "<dict>", "bytes, path"),
        ({"text": "hi"}, "<dict>", "text"),
        (encoded(tone(1.0))[:16000], "<bytes>", "32000 bytes, the file has 15956"),
        (encoded(tone(1.0), "AU")[:16000], "<bytes>", "32000 bytes, the file has 15976"),
        (encoded(tone(1.0), "AIFF")[:16000], "<bytes>", "damaged"),
        (encoded(tone(1.0), subtype="IMA_ADPCM")[:6000], "<bytes>", "damaged"),
        (with_data_length(encoded(tone(1.0)), 0), "<bytes>", "0 bytes of sound, the file has 32000"),
        (with_data_length(encoded(tone(1.0)), 8000), "<bytes>", "8000 bytes of sound"),
        (with_flac_total(encoded(tone(1.0), "FLAC"), 0), "<bytes>", "length"),
        (with_free_bit_rate(), "<bytes>", "free bit rate"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_load_audio_rejects_unusable_source(source, name, value):
    error = rejection(source)
    assert error.source == name
    assert value in error.problem


def test_load_audio_names_file_that_is_missing_empty_or_no_audio(tmp_path):
    missing, link, empty, text, pipe = (tmp_path / name for name in ("none.wav", "link.wav", "e.wav", "a b", "pipe"))
    link.symlink_to(missing)
    empty.touch()
    os.mkfifo(pipe)
    assert str(missing) in rejection(missing).fix
    for path in (missing, link, empty, pipe, tmp_path):
        assert rejection(path).source == str(path)
    assert rejection("").source == ""
    header_only = b"RIFF\0\0\0\0WAVE"
    for data in (b"text\n" * 100, bytes(5000), b"RIFF", header_only, b"fLaC" + bytes(100), b"OggS" + bytes(99)):
        text.write_bytes(data)
        assert f"ffmpeg -i '{text}' out.wav" in rejection(text).fix
    with open(text) as file:
        assert '"rb"' in rejection(file).fix
    strange = rejection(tmp_path / "two\nlines\udcff  spaces.wav")
    assert "two\\nlines\\udcff  spaces.wav: " in str(strange)
    str(strange).encode()


@pytest.fixture
def as_nobody():
    """A folder, while the process runs as a user who does not own its files (root may read everything)."""
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


@contextmanager
def owner():
    user = os.geteuid()
    os.seteuid(os.getuid())
    yield
    os.seteuid(user)


def test_unreadable_files_and_folders_are_reported_one_by_one(as_nobody):
    private, closed = as_nobody / "it's private.wav", as_nobody / "shut"
    with owner():
        for path in (private, as_nobody / "open" / "a.wav", closed / "b.wav"):
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(encoded(tone()))
        private.chmod(0)
        closed.chmod(0)
    try:
        assert find_audio([as_nobody]) == [private, as_nobody / "open" / "a.wav", closed]
        quoted = "'" + str(private).replace("'", "'\"'\"'") + "'"
        assert f"chmod u+rX {quoted}" in rejection(private).fix
        for path in (closed, closed / "b.wav"):
            assert rejection(path).source == str(path) and "chmod" in rejection(path).fix
    finally:
        with owner():
            closed.chmod(0o755)


def test_load_audio_reports_disk_and_memory_errors(tmp_path, monkeypatch):
    path = tmp_path / "a.wav"
    path.write_bytes(encoded(tone()))

    def failing_open(*args):
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    def no_memory(arrays):
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(audio_mser, "open", failing_open, raising=False)
        assert os.strerror(errno.EIO) in rejection(path).problem
    with monkeypatch.context() as patched:
        patched.setattr(audio_mser.np, "concatenate", no_memory)
        assert isinstance(rejection(tone()), AudioTooLongError)


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [
        *(("WAV", "PCM_16"), ("AIFF", "PCM_16"), ("FLAC", "PCM_16"), ("MP3", "MPEG_LAYER_III")),
        *(("OGG", "VORBIS"), ("OGG", "OPUS")),
    ],
)
def test_every_beginning_of_a_file_is_rejected_or_read_completely(kind, subtype):
    complete = encoded(tone(1.0), kind, subtype)
    rejected = 0
    for size in [*np.linspace(0, len(complete), 40, dtype=int), *ogg_pages(complete)[1:]]:
        try:
            waveform = load_audio(complete[:size])
        except AudioError:
            rejected += 1
        else:
            assert len(waveform) > 0.9 * RATE, size
    assert rejected > 30


@pytest.mark.parametrize("length", [0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000, 0x80000000])
def test_wav_with_the_length_of_a_stream_is_read_to_the_end(length):
    wav = encoded(tone(1.0))
    np.testing.assert_array_equal(load_audio(with_data_length(wav, length)), load_audio(wav))


def test_wav_with_a_wrong_riff_size_or_other_chunks_is_read():
    wav = encoded(tone(1.0))
    long_tag = b"LIST" + struct.pack("<I", 9001) + bytes(9002)
    place = wav.index(b"data")
    changed = [wav[:4] + struct.pack("<I", length) + wav[8:] for length in (0, 1000, 0xFFFFFFFF)]
    changed += [wav + long_tag, wav[:place] + long_tag + wav[place:], wav + b"\0" * 100]
    for data in changed:
        np.testing.assert_array_equal(load_audio(data), load_audio(wav))


def test_wrong_length_in_a_header_takes_no_memory():
    files = [
        with_flac_total(encoded(tone(1.0), "FLAC"), 2**36 - 1),
        with_data_length(encoded(tone(1.0)), 0x7F000000),
    ]
    before = reset_peak_memory()
    for data in files:
        assert "damaged" in rejection(data).problem
        assert "damaged" in rejection(data, max_seconds=30.0).problem
    assert peak_memory() - before < 100_000


@pytest.mark.parametrize("kind", [AudioError, AudioTooLongError])
def test_audio_error_can_be_pickled(kind):
    error = pickle.loads(pickle.dumps(kind("a.wav", "is empty (0 bytes)", "copy it again")))
    assert type(error) is kind
    assert (error.source, error.problem, error.fix) == ("a.wav", "is empty (0 bytes)", "copy it again")
    assert str(error) == "a.wav: is empty (0 bytes); copy it again"


def test_missing_library_is_named_when_needed(monkeypatch):
    monkeypatch.setattr(audio_mser, "soxr", None)
    assert len(load_audio(tone())) == 8000
    with pytest.raises(ImportError, match="soxr"):
        load_audio({"array": tone(), "sampling_rate": 8000})
    monkeypatch.setattr(audio_mser, "soundfile", None)
    with pytest.raises(ImportError, match="soundfile"):
        load_audio(encoded(tone()))


def problems_in_code() -> set[str]:
    """Return the problems of all `AudioError`s up to the first bracket or value."""
    problems = set()
    for path in Path(processing_mser.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text: ast.expr | None = None
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "problem":
                text = node.value
            elif isinstance(node, ast.Call):
                place = {"Problem": 0, "AudioError": 1, "AudioTooLongError": 1}.get(ast.unparse(node.func))
                text = None if place is None else node.args[place]
            if isinstance(text, ast.JoinedStr):
                text = text.values[0]
            if isinstance(text, ast.Constant):
                problems.add(text.value.split(" (")[0].strip())
    return problems


def test_page_lists_every_problem():
    page = (Path(__file__).resolve().parents[2] / "docs" / "audio.md").read_text(encoding="utf-8")
    section = page.split("\n## Errors\n")[1].split("\n## ")[0]
    assert {row.split(" (")[0] for row in re.findall(r"^\| `(.+?)` \|", section, re.MULTILINE)} == problems_in_code()
