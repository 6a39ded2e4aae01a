# SPDX-License-Identifier: Apache-2.0
"""Narrow-band recordings are recognized as such, whatever the rate of their file."""

import io
import json

import numpy as np
import pytest
import soundfile
import soxr

from modeling_mser.pipeline_mser import MSERPipeline
from mser_llm.cli.predict import PredictArguments, run
from mser_llm.evaluation.robustness.conditions import CONDITIONS
from mser_llm.inference.recognition import recognize
from processing_mser.audio_mser import SAMPLING_RATE, load_audio
from processing_mser.bandwidth_mser import band_powers, effective_bandwidth, narrow_bandwidth


WORDS = ("happy", "sad", "angry")


def speechlike(seconds: float = 3.0) -> np.ndarray:
    """Noise that loses 40 dB from 0 to 8 kHz, in syllables."""
    noise = np.random.default_rng(0).standard_normal(round(seconds * SAMPLING_RATE))
    spectrum = np.fft.rfft(noise)
    spectrum *= 10 ** (-2 * np.linspace(0, 1, len(spectrum)))
    time = np.arange(len(noise)) / SAMPLING_RATE
    samples = np.fft.irfft(spectrum, len(noise)) * (0.02 + np.sin(2 * np.pi * 3 * time) ** 2)
    return (0.5 * samples / np.abs(samples).max()).astype(np.float32)


def bandwidth(waveform: np.ndarray) -> float:
    return effective_bandwidth(band_powers(waveform), SAMPLING_RATE)


def telephone_copy(kind: str, subtype: str) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, soxr.resample(speechlike(), SAMPLING_RATE, 8000), 8000, format=kind, subtype=subtype)
    return buffer.getvalue()


@pytest.mark.parametrize("kilohertz", [2.0, 3.0, 4.0, 6.0, 7.0])
def test_bandwidth_is_where_the_sound_ends(kilohertz):
    limited = CONDITIONS["bandwidth"].apply(speechlike(), kilohertz, np.random.default_rng(0), [])
    assert len(limited) == len(speechlike())
    # A resampler's transition lies below the limit.
    assert 0.9 * 1000 * kilohertz <= bandwidth(limited) <= 1000 * kilohertz
    narrow = narrow_bandwidth(band_powers(limited), SAMPLING_RATE)
    assert narrow == (bandwidth(limited) if kilohertz <= 4 else None)


@pytest.mark.parametrize(
    ("kind", "subtype"), [("WAV", "PCM_16"), ("WAV", "ULAW"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")]
)
def test_telephone_copies_are_narrow_and_the_original_is_not(kind, subtype):
    copy = load_audio(telephone_copy(kind, subtype))
    assert 3000 < narrow_bandwidth(band_powers(copy), SAMPLING_RATE) <= 4000
    assert narrow_bandwidth(band_powers(speechlike()), SAMPLING_RATE) is None


def test_powers_of_windows_add_up_and_level_and_length_do_not_matter():
    samples = speechlike()
    halves = band_powers(samples[: len(samples) // 2]) + band_powers(samples[len(samples) // 2 :])
    np.testing.assert_allclose(halves, band_powers(samples), rtol=0.1)
    assert bandwidth(samples) == bandwidth(0.001 * samples) == 8000
    assert bandwidth(samples[:300]) > 4000


def test_recognition_and_pipeline_report_the_same_bandwidth(tiny):
    model, processor = tiny
    copy, wide = telephone_copy("WAV", "PCM_16"), speechlike()
    narrow, other = recognize(model, processor, [copy, wide], WORDS)
    assert 3000 < narrow.bandwidth_hz <= 4000
    assert other.bandwidth_hz is None

    pipe = MSERPipeline(model, processor=processor, device="cpu", candidate_labels=list(WORDS))
    assert {entry["bandwidth_hz"] for entry in pipe(copy)} == {narrow.bandwidth_hz}
    assert all("bandwidth_hz" not in entry for entry in pipe(wide))
    timeline = pipe(copy, timeline=True, window_seconds=1.0, overlap_seconds=0.0)
    assert all(3000 < entry["bandwidth_hz"] <= 4000 for entry in timeline)


def test_predict_warns_of_narrow_files_and_gives_their_bandwidth(tiny_model_dir, tmp_path, capsys):
    (tmp_path / "phone.wav").write_bytes(telephone_copy("WAV", "PCM_16"))
    soundfile.write(tmp_path / "wide.wav", speechlike(), SAMPLING_RATE)
    assert run(PredictArguments(files=[str(tmp_path)], model=str(tiny_model_dir), device="cpu", json=True)) == 0
    shown = capsys.readouterr()
    phone, wide = map(json.loads, shown.out.splitlines())
    assert 3000 < phone["bandwidth_hz"] <= 4000
    assert "bandwidth_hz" not in wide
    assert "phone.wav" in shown.err
    assert "wide.wav" not in shown.err
