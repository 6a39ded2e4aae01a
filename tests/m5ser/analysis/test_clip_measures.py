# SPDX-License-Identifier: Apache-2.0
"""Measure synthetic sounds of known properties."""

import numpy as np
import pytest

from mser_llm.m5ser.analysis.clip_measures import CONTOUR_POINTS, MEL_BANDS, SCALARS, measure_clip


RATE = 16_000


def voice(semitones, seconds=1.2, level=0.1):
    """Synthesize a buzz whose pitch follows `semitones` above 100 Hz, at even steps."""
    course = np.interp(np.linspace(0, 1, int(seconds * RATE)), np.linspace(0, 1, len(semitones)), semitones)
    phase = 2 * np.pi * np.cumsum(100 * 2 ** (course / 12)) / RATE
    wave = sum(np.sin(number * phase) / number for number in range(1, 12))
    return level * wave / np.sqrt(np.mean(wave**2))


def measures(waveform):
    found = measure_clip(waveform.astype(np.float32))
    return dict(zip(SCALARS, found.scalars.tolist())), found


def noise(seconds, seed=0):
    return np.random.default_rng(seed).standard_normal(int(seconds * RATE))


@pytest.mark.parametrize("semitones", [0.0, 7.0, 15.0])
def test_pitch_of_a_constant_voice(semitones):
    scalars, found = measures(voice([semitones, semitones]))
    assert scalars["f0_median"] == pytest.approx(semitones, abs=0.1)
    assert scalars["f0_range"] == pytest.approx(0, abs=0.2)
    assert found.contour.shape == (CONTOUR_POINTS,)


def test_range_and_contour_of_a_glide():
    scalars, found = measures(voice([3, 13]))
    assert scalars["f0_median"] == pytest.approx(8, abs=0.3)
    # The span from the 5th to the 95th percentile of a linear glide is 90 % of it.
    assert scalars["f0_range"] == pytest.approx(9, abs=0.5)
    assert np.allclose(found.contour, np.linspace(3, 13, CONTOUR_POINTS), atol=0.6)


def test_noise_has_all_measures_except_pitch():
    scalars, found = measures(0.1 * noise(1.0))
    assert np.isnan(scalars["f0_median"]) and np.isnan(scalars["f0_range"]) and np.isnan(found.contour).all()
    assert np.isfinite([scalars[name] for name in ("seconds", "energy", "rate", "tilt")]).all()
    assert found.spectrum.shape == (MEL_BANDS,) and np.isfinite(found.spectrum).all()
    # So has the shortest readable clip.
    shortest, _ = measures(voice([5, 5], seconds=0.1))
    assert np.isfinite([shortest[name] for name in ("seconds", "energy", "rate", "tilt")]).all()


def test_level_changes_only_energy_and_spectrum():
    wave = voice([2, 6]) + 0.005 * noise(1.2)
    loud, found = measures(wave)
    quiet, found_quiet = measures(0.25 * wave)
    down = 20 * np.log10(0.25)
    assert loud["energy"] == pytest.approx(20 * np.log10(0.1), abs=0.3)
    assert quiet["energy"] - loud["energy"] == pytest.approx(down, abs=0.01)
    assert np.allclose(found_quiet.spectrum - found.spectrum, down, atol=0.02)
    for name in ("seconds", "f0_median", "f0_range", "rate", "tilt"):
        assert quiet[name] == pytest.approx(loud[name], abs=0.02)


def test_silence_changes_neither_spectrum_nor_energy():
    wave, pause = voice([5, 5]) + 0.01 * noise(1.2), np.zeros(RATE // 2)
    bare, found = measures(wave)
    padded, found_padded = measures(np.concatenate([pause, wave, pause]))
    assert padded["seconds"] == pytest.approx(bare["seconds"], abs=0.05)
    assert padded["energy"] == pytest.approx(bare["energy"], abs=0.2)
    assert np.abs(found_padded.spectrum - found.spectrum).max() < 1.0
    twice, found_twice = measures(np.concatenate([wave, pause, wave]))
    assert twice["seconds"] == pytest.approx(2 * 1.2 + 0.5, abs=0.05)
    assert np.abs(found_twice.spectrum - found.spectrum).max() < 1.0


@pytest.mark.parametrize("slope", [-9.0, 0.0])
def test_tilt_is_the_slope_of_the_spectrum(slope):
    spectrum = np.fft.rfft(noise(3.0))
    hertz = np.maximum(np.fft.rfftfreq(3 * RATE, 1 / RATE), 50)
    shaped = np.fft.irfft(spectrum * (hertz / 1000) ** (slope / (20 * np.log10(2))))
    assert measures(0.1 * shaped / shaped.std())[0]["tilt"] == pytest.approx(slope, abs=0.3)


@pytest.mark.parametrize("per_second", [3, 5])
def test_rate_counts_syllables(per_second):
    seconds = np.arange(2 * RATE) / RATE
    beats = 0.02 + np.sin(np.pi * per_second * seconds) ** 2
    assert measures(0.1 * beats * noise(2.0))[0]["rate"] == pytest.approx(per_second, rel=0.15)
