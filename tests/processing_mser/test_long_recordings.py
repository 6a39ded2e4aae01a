# SPDX-License-Identifier: Apache-2.0
"""A recording read window by window has the same samples and errors as in one piece, with limited memory."""

import io
import math
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from audio_files import encoded, noise

from processing_mser.audio_mser import SAMPLING_RATE, AudioError, cut_windows, load_audio
from processing_mser.windows_mser import read_recording, sliding_windows


def written(path: Path, samples: np.ndarray, rate: int, **options) -> Path:
    soundfile.write(path, samples, rate, **options)
    return path


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("seconds", [6.1, 9.50005])
def test_streamed_windows_equal_those_in_memory(tmp_path, rate, seconds):
    path = written(tmp_path / "a.flac", noise(seconds, rate), rate)
    expected = cut_windows(load_audio(path), window_seconds=3.0)

    recording = read_recording(path, max_samples_in_memory=1000)

    assert recording.waveform is None
    assert recording.num_samples == sum(map(len, expected)) == len(load_audio(path))
    windows = list(recording.windows(3.0))
    assert len(windows) == math.ceil(seconds / 3)
    for window, piece in zip(windows, expected, strict=True):
        np.testing.assert_allclose(window.waveform, piece, atol=1e-6)
    assert windows[0].part and windows[-1].end == pytest.approx(recording.seconds)


@pytest.mark.parametrize("source_kind", ["bytes", "file object", "dict", "array"])
def test_read_recording_streams_every_source_form(tmp_path, source_kind):
    path = written(tmp_path / "a.wav", noise(6.5), SAMPLING_RATE, subtype="FLOAT")
    data = path.read_bytes()
    source = {
        "bytes": data,
        "file object": io.BytesIO(data),
        "dict": {"bytes": data, "path": None},
        "array": load_audio(path),
    }[source_kind]
    windows = list(read_recording(source, max_samples_in_memory=1000).windows(3.0))
    np.testing.assert_array_equal(np.concatenate([window.waveform for window in windows]), load_audio(path))


def damaged(case: str) -> bytes:
    samples = noise(6.5)
    if case == "nan":
        samples[-5] = np.nan
    elif case == "scale":
        samples[-5] = 1e20
    elif case == "silent":
        samples[:] = 0
    data = encoded(samples, "FLAC") if case == "flac cut" else encoded(samples, "WAV", "FLOAT")
    return data[: -len(data) // 4] if "cut" in case else data


@pytest.mark.parametrize("case", ["nan", "scale", "silent", "wav cut", "flac cut"])
def test_long_recordings_raise_the_errors_of_load_audio(case):
    data = damaged(case)
    with pytest.raises(AudioError) as expected:
        load_audio(data)
    with pytest.raises(AudioError) as streamed:
        read_recording(data, max_samples_in_memory=1000)
    with pytest.raises(AudioError) as sliding:
        list(sliding_windows(data, 5.0, 1.0))
    assert str(expected.value) == str(streamed.value)
    if case != "nan":  # raised at the block in which it occurs
        assert str(sliding.value) == str(expected.value)


def test_silent_windows_are_skipped_streamed_or_in_memory():
    samples = noise(9.5)
    samples[3 * SAMPLING_RATE : 6 * SAMPLING_RATE] = 0
    recording = read_recording(samples, max_samples_in_memory=1000)
    assert [round(window.start, 3) for window in recording.windows(1.0)] == [
        round(window.start, 3) for window in read_recording(samples).windows(1.0)
    ]
    assert len(list(recording.windows(1.0))) < 10


def test_recording_that_shrinks_between_reads_is_rejected(tmp_path):
    path = written(tmp_path / "a.wav", noise(6.5), SAMPLING_RATE)
    recording = read_recording(path, max_samples_in_memory=1000)
    written(path, noise(4.0), SAMPLING_RATE)
    with pytest.raises(AudioError) as caught:
        list(recording.windows(3.0))
    assert caught.value.source == str(path)


def sparse_wav(path: Path, num_bytes: int) -> Path:
    """Write a 16-bit mono file with one second of noise and then a hole."""
    sound = (32767 * noise()).clip(-32768, 32767).astype("<i2").tobytes()
    header = b"RIFF" + struct.pack("<I", 36 + num_bytes) + b"WAVEfmt "
    header += struct.pack("<IHHIIHH", 16, 1, 1, SAMPLING_RATE, 2 * SAMPLING_RATE, 2, 16)
    with open(path, "wb") as file:
        file.write(header + b"data" + struct.pack("<I", num_bytes) + sound)
        file.truncate(44 + num_bytes)
    return path


LIMITED = """
import re, resource, sys
from mser_llm.cli.predict import PredictArguments, run
from mser_llm.inference.loading import load_model
from modeling_mser.pipeline_mser import MSERPipeline

model, small, large = sys.argv[1:4]
arguments = {"model": model, "device": "cpu", "json": True, "batch_size": 2}
assert run(PredictArguments(files=[small], **arguments)) == 0
network, processor = load_model(model, "cpu")
pipe = MSERPipeline(network, processor=processor)
taken = int(re.search(r"VmSize:\\s+(\\d+)", open("/proc/self/status").read())[1]) << 10
resource.setrlimit(resource.RLIMIT_AS, (taken + (400 << 20),) * 2)
assert run(PredictArguments(files=[large], **arguments)) == 0
assert len(pipe(large, timeline=False)) == 7
"""


@pytest.mark.slow
def test_predict_and_pipeline_read_a_wav_larger_than_memory(tiny_model_dir, warm_python, tmp_path):
    """100 million samples take 400 MB as float32, and any copy as much again; the limit is 400 MB."""
    small, large = sparse_wav(tmp_path / "small.wav", 64_000), sparse_wav(tmp_path / "large.wav", 200_000_000)
    script = tmp_path / "limited.py"
    script.write_text(LIMITED)
    done = warm_python.run(script, tiny_model_dir, small, large, environment={"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('"label"') == 2
