# SPDX-License-Identifier: Apache-2.0
"""Narrow-band recordings are detected and reported, whatever the rate of their file."""

import json

import numpy as np
import pytest
import soundfile
import soxr
from audio_files import encoded

from modeling_mser.pipeline_mser import MSERPipeline
from mser_llm.cli.predict import PredictArguments, run
from mser_llm.evaluation.robustness.conditions import CONDITIONS
from mser_llm.inference.recognition import recognize
from processing_mser.audio_mser import SAMPLING_RATE, load_audio
from processing_mser.bandwidth_mser import band_powers, effective_bandwidth, narrow_bandwidth


WORDS = ("happy", "sad", "angry")


def speechlike(seconds: float = 3.0) -> np.ndarray:
    """Modulated noise whose spectrum falls by 40 dB from 0 to 8 kHz."""
    noise = np.random.default_rng(0).standard_normal(round(seconds * SAMPLING_RATE))
    spectrum = np.fft.rfft(noise)
    spectrum *= 10 ** (-2 * np.linspace(0, 1, len(spectrum)))
    time = np.arange(len(noise)) / SAMPLING_RATE
    samples = np.fft.irfft(spectrum, len(noise)) * (0.02 + np.sin(2 * np.pi * 3 * time) ** 2)
    return (0.5 * samples / np.abs(samples).max()).astype(np.float32)


def bandwidth(waveform: np.ndarray) -> float:
    return effective_bandwidth(band_powers(waveform), SAMPLING_RATE)


def telephone_copy(kind: str, subtype: str) -> bytes:
    return encoded(soxr.resample(speechlike(), SAMPLING_RATE, 8000), kind, subtype, rate=8000)


@pytest.mark.parametrize("kilohertz", [2.0, 3.0, 4.0, 6.0, 7.0])
def test_effective_bandwidth_is_the_highest_frequency(kilohertz):
    limited = CONDITIONS["bandwidth"].apply(speechlike(), kilohertz, np.random.default_rng(0), [])
    assert len(limited) == len(speechlike())
    # The resampler's transition band is below the limit.
    assert 0.9 * 1000 * kilohertz <= bandwidth(limited) <= 1000 * kilohertz
    narrow = narrow_bandwidth(band_powers(limited), SAMPLING_RATE)
    assert narrow == (bandwidth(limited) if kilohertz <= 4 else None)


@pytest.mark.parametrize(
    ("kind", "subtype"), [("WAV", "PCM_16"), ("WAV", "ULAW"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")]
)
def test_narrow_bandwidth_of_telephone_copy_and_original(kind, subtype):
    copy = load_audio(telephone_copy(kind, subtype))
    assert 3000 < narrow_bandwidth(band_powers(copy), SAMPLING_RATE) <= 4000
    assert narrow_bandwidth(band_powers(speechlike()), SAMPLING_RATE) is None


def test_band_powers_of_windows_add_up_at_any_level():
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


def test_predict_warns_about_narrow_band_files(tiny_model_dir, tmp_path, capsys):
    (tmp_path / "phone.wav").write_bytes(telephone_copy("WAV", "PCM_16"))
    soundfile.write(tmp_path / "wide.wav", speechlike(), SAMPLING_RATE)
    assert run(PredictArguments(files=[str(tmp_path)], model=str(tiny_model_dir), device="cpu", json=True)) == 0
    shown = capsys.readouterr()
    phone, wide = map(json.loads, shown.out.splitlines())
    assert 3000 < phone["bandwidth_hz"] <= 4000
    assert "bandwidth_hz" not in wide
    assert "phone.wav" in shown.err
    assert "wide.wav" not in shown.err
