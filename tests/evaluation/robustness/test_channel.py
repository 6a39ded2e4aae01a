# SPDX-License-Identifier: Apache-2.0
import io

import numpy as np
import pytest
import soundfile
from scipy.signal import correlate

from mser_llm.evaluation.robustness import channel
from mser_llm.evaluation.robustness.conditions import CONDITIONS
from processing_mser import SAMPLING_RATE


def tone(frequency, seconds=1.0, amplitude=0.3):
    return amplitude * np.sin(2 * np.pi * frequency * np.arange(int(seconds * SAMPLING_RATE)) / SAMPLING_RATE)


@pytest.fixture
def chirps():
    """Sound without any period, so that a shift is visible."""
    times = np.arange(int(1.503 * SAMPLING_RATE)) / SAMPLING_RATE
    sweep = np.sin(2 * np.pi * (300 * times + 500 * times**2))
    return 0.3 * sweep * np.random.default_rng(0).uniform(0.2, 1, 16)[(times * 10).astype(int)]


def gain(frequency):
    sound = tone(frequency)
    middle = slice(SAMPLING_RATE // 4, -SAMPLING_RATE // 4)
    return 20 * np.log10(np.std(channel.telephone(sound)[middle]) / np.std(sound[middle]))


def test_telephone_passes_its_band_only():
    assert all(abs(gain(frequency)) < 1.0 for frequency in (450, 1000, 2500, 3000))
    assert all(gain(frequency) < -30 for frequency in (100, 4500, 6000))


@pytest.mark.parametrize("samples", [1601, 16_000, 24_047])
def test_telephone_keeps_length_and_time(samples, chirps):
    sound = chirps[:samples]
    filtered = channel.telephone(sound)
    assert len(filtered) == samples
    lag = correlate(filtered, sound).argmax() - (samples - 1)
    assert abs(lag) <= 1


@pytest.mark.parametrize("name", ["mp3", "opus"])
def test_codecs_have_requested_rate_without_delay(name, chirps, monkeypatch):
    sizes = []
    write = soundfile.write

    def weighed(file, *args, **kwargs):
        write(file, *args, **kwargs)
        sizes.append(len(file.getvalue()))

    monkeypatch.setattr(channel.soundfile, "write", weighed)
    long = np.tile(chirps, 4)  # long enough that headers are small
    for level in CONDITIONS[name].levels:
        decoded = CONDITIONS[name].apply(long, level, np.random.default_rng(0), [])
        kilobits = sizes[-1] * 8 / 1000 / (len(long) / SAMPLING_RATE)
        # Opus varies its rate with the sound, and its pages add about 2 kbit/s.
        assert kilobits == pytest.approx(level, rel=0.08) if name == "mp3" else 0.9 < kilobits / level < 1.8
        assert len(decoded) == len(long)
    light = CONDITIONS[name].apply(chirps, CONDITIONS[name].levels[0], np.random.default_rng(0), [])
    assert np.corrcoef(light, chirps)[0, 1] > 0.95
    errors = [
        np.std(CONDITIONS[name].apply(chirps, level, np.random.default_rng(0), []) - chirps)
        for level in (CONDITIONS[name].levels[0], CONDITIONS[name].levels[-1])
    ]
    assert errors[0] < errors[1]


def test_codecs_do_not_clip_loud_input():
    loud = tone(440, amplitude=3.0)
    assert np.abs(channel.opus(loud, 64.0)).max() > 2.5


def test_clip_flattens_peaks_and_keeps_level():
    sound = tone(100)
    cut = channel.clip(sound, 12.0)
    assert np.std(cut) == pytest.approx(np.std(sound), rel=1e-6)
    flat = np.isclose(np.abs(cut), np.abs(cut).max()).mean()
    # |sin| is over a quarter of its peak (12 dB less) for this part of the time.
    assert flat == pytest.approx(1 - 2 / np.pi * np.arcsin(10 ** (-12 / 20)), abs=0.01)


def test_change_level_applies_gain_without_clipping():
    sound = tone(300, amplitude=0.9)
    assert np.allclose(channel.change_level(sound, 20.0), 10 * sound)
    assert np.allclose(channel.change_level(sound, -40.0), sound / 100)


def test_codecs_match_soundfile(chirps):
    """Encode and decode in memory with soundfile at libsndfile's own level."""
    buffer = io.BytesIO()
    soundfile.write(buffer, chirps, SAMPLING_RATE, format="OGG", subtype="OPUS", compression_level=(256 - 16) / 250)
    buffer.seek(0)
    assert np.allclose(channel.opus(chirps, 16.0), soundfile.read(buffer)[0], atol=1e-9)
