# SPDX-License-Identifier: Apache-2.0
"""Noise, transmission and time: ratios, rates, lengths and levels of perturbed waveforms."""

import io

import numpy as np
import pytest
import soundfile
from scipy.signal import correlate

from mser_llm.evaluation.robustness import waveforms
from mser_llm.evaluation.robustness.conditions import CONDITIONS
from mser_llm.evaluation.robustness.waveforms import rms
from processing_mser import SAMPLING_RATE


RNG = np.random.default_rng(0)


def tone(frequency, seconds=1.0, amplitude=0.3):
    return amplitude * np.sin(2 * np.pi * frequency * np.arange(int(seconds * SAMPLING_RATE)) / SAMPLING_RATE)


@pytest.fixture
def speech():
    """Syllables of a harmonic tone with pauses, 2 s."""
    times = np.arange(2 * SAMPLING_RATE) / SAMPLING_RATE
    harmonic = sum(tone(150 * k, 2.0, 0.1 / k) for k in range(1, 12))
    return (harmonic * (np.sin(2 * np.pi * 3 * times) > 0)).astype(np.float32)


@pytest.fixture
def chirps():
    """Sound without any period, so that a shift is visible."""
    times = np.arange(int(1.503 * SAMPLING_RATE)) / SAMPLING_RATE
    sweep = np.sin(2 * np.pi * (300 * times + 500 * times**2))
    return 0.3 * sweep * np.random.default_rng(0).uniform(0.2, 1, 16)[(times * 10).astype(int)]


def decibels(one, other):
    return 20 * np.log10(rms(one) / rms(other))


@pytest.mark.parametrize("level", [20.0, 7.0, 0.0])
def test_noise_has_requested_ratio(speech, level):
    # Shorter than the clip, so they repeat; the last one is constant.
    speakers = [RNG.standard_normal(SAMPLING_RATE // 3) * 0.001, RNG.standard_normal(5000), np.full(500, 0.2)]
    for perturbed in (
        waveforms.white(speech, level, RNG),
        waveforms.babble(speech, level, RNG, *speakers),
        waveforms.overlap(speech, level, RNG, speakers[0]),
    ):
        assert perturbed.shape == speech.shape
        assert decibels(speech, perturbed - speech) == pytest.approx(level, abs=0.01)
    assert np.abs((waveforms.overlap(speech, level, RNG, speakers[2]) - speech)[-SAMPLING_RATE:]).min() > 0
    assert np.array_equal(waveforms.overlap(speech, level, RNG, np.zeros(800)), speech), "the other is silent"


def test_babble_speakers_are_equally_loud(speech):
    speakers = [tone(f, 2.0, scale) for scale, f in ((0.01, 400), (1.0, 900), (30.0, 1700))]
    added = waveforms.babble(speech, 0.0, RNG, *speakers) - speech
    spectrum = np.abs(np.fft.rfft(added)) ** 2
    parts = [spectrum[2 * f - 20 : 2 * f + 21].sum() for f in (400, 900, 1700)]
    assert np.ptp(parts) < 0.05 * np.mean(parts)


@pytest.mark.parametrize("level", [20.0, 0.0])
def test_room_response_has_ratio_and_decay_time(level):
    response = waveforms.room_response(level, RNG)
    assert decibels(response[:1], response[1:]) - 10 * np.log10(len(response) - 1) == pytest.approx(level, abs=1e-6)
    # Schroeder's backward integral of the tail falls by 60 dB in the reverberation time.
    tail = response[40:]
    decay = 10 * np.log10(np.cumsum(np.square(tail)[::-1])[::-1] / np.square(tail).sum())
    slope = np.polyfit(np.arange(4000) / SAMPLING_RATE, decay[:4000], 1)[0]
    assert -60 / slope == pytest.approx(waveforms.REVERBERATION_SECONDS, rel=0.1)


def test_reverberate_keeps_length_and_level(speech):
    wet = waveforms.reverberate(speech, 0.0, RNG)
    assert wet.shape == speech.shape
    assert rms(wet) == pytest.approx(rms(speech), rel=1e-6)
    pause = slice(int(0.17 * SAMPLING_RATE), int(0.2 * SAMPLING_RATE))
    assert not speech[pause].any()
    assert rms(wet[pause]) > 0.1 * rms(speech)
    nearly_dry = waveforms.reverberate(speech, 60.0, RNG)
    assert np.abs(nearly_dry - speech).max() < 0.01 * np.abs(speech).max()


def test_telephone_passes_its_band_only():
    middle = slice(SAMPLING_RATE // 4, -SAMPLING_RATE // 4)

    def gain(frequency):
        sound = tone(frequency)
        return decibels(waveforms.telephone(sound)[middle], sound[middle])

    assert all(abs(gain(frequency)) < 1.0 for frequency in (450, 1000, 2500, 3000))
    assert all(gain(frequency) < -30 for frequency in (100, 4500, 6000))


@pytest.mark.parametrize("samples", [1601, 16_000, 24_047])
def test_telephone_keeps_length_and_time(samples, chirps):
    sound = chirps[:samples]
    filtered = waveforms.telephone(sound)
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

    monkeypatch.setattr(waveforms.soundfile, "write", weighed)
    levels, encode = CONDITIONS[name].levels, CONDITIONS[name].apply
    long = np.tile(chirps, 4)  # long enough that headers are small
    for level in levels:
        decoded = encode(long, level, RNG)
        kilobits = sizes[-1] * 8 / 1000 / (len(long) / SAMPLING_RATE)
        # Opus varies its rate with the sound, and its pages add about 2 kbit/s.
        assert kilobits == pytest.approx(level, rel=0.08) if name == "mp3" else 0.9 < kilobits / level < 1.8
        assert len(decoded) == len(long)
    best, worst = (encode(chirps, level, RNG) for level in (levels[0], levels[-1]))
    assert np.corrcoef(best, chirps)[0, 1] > 0.95
    assert np.std(best - chirps) < np.std(worst - chirps)
    assert np.abs(encode(tone(440, amplitude=3.0), 64.0, RNG)).max() > 2.5, "loud input is clipped"


def test_opus_matches_soundfile(chirps):
    """Encode and decode in memory with soundfile at libsndfile's own level."""
    buffer = io.BytesIO()
    soundfile.write(buffer, chirps, SAMPLING_RATE, format="OGG", subtype="OPUS", compression_level=(256 - 16) / 250)
    buffer.seek(0)
    assert np.allclose(waveforms.opus(chirps, 16.0), soundfile.read(buffer)[0], atol=1e-9)


def test_clip_flattens_peaks_and_keeps_level():
    sound = tone(100)
    cut = waveforms.clip(sound, 12.0)
    assert rms(cut) == pytest.approx(rms(sound), rel=1e-6)
    flat = np.isclose(np.abs(cut), np.abs(cut).max()).mean()
    # |sin| is over a quarter of its peak (12 dB less) for this part of the time.
    assert flat == pytest.approx(1 - 2 / np.pi * np.arcsin(10 ** (-12 / 20)), abs=0.01)


def test_change_level_and_truncate_change_nothing_else():
    sound = tone(300, amplitude=0.9)
    assert np.allclose(waveforms.change_level(sound, 20.0), 10 * sound)
    assert np.allclose(waveforms.change_level(sound, -40.0), sound / 100)
    assert np.array_equal(waveforms.truncate(sound, 0.5), sound[: SAMPLING_RATE // 2])
    assert np.array_equal(waveforms.truncate(sound, 4.0), sound)


@pytest.mark.parametrize("factor", [0.7, 1.0, 1.3])
def test_change_speed_moves_length_and_pitch(factor):
    changed = waveforms.change_speed(tone(500, 2.0), factor)
    assert len(changed) == pytest.approx(2 * SAMPLING_RATE / factor, abs=2)
    spectrum = np.abs(np.fft.rfft(changed * np.hanning(len(changed))))
    assert spectrum.argmax() * SAMPLING_RATE / len(changed) == pytest.approx(500 * factor, abs=1)


def test_join_takes_halves_at_equal_level_without_step():
    one, other = tone(200, 1.0, amplitude=0.5), tone(900, 3.0, amplitude=0.01)
    joined = waveforms.join(one, 50.0, RNG, other)
    assert len(joined) == pytest.approx(2.0 * SAMPLING_RATE, abs=0.011 * SAMPLING_RATE)
    half = SAMPLING_RATE // 2
    assert np.array_equal(joined[:half], one[:half])
    second = joined[half + SAMPLING_RATE // 50 :]
    assert rms(second) == pytest.approx(rms(one), rel=0.01)
    assert np.abs(np.fft.rfft(second)).argmax() == pytest.approx(900 * len(second) / SAMPLING_RATE, abs=2)
    step = np.diff(waveforms.join(np.full(1000, 0.3), 50.0, RNG, np.full(2000, -0.3)))
    assert np.abs(step).max() < 0.01
