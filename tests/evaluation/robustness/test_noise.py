# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from mser_llm.evaluation.robustness import noise
from processing_mser import SAMPLING_RATE


@pytest.fixture
def speech():
    """Syllables of a harmonic tone with pauses, 2 s."""
    times = np.arange(2 * SAMPLING_RATE) / SAMPLING_RATE
    tone = sum(np.sin(2 * np.pi * 150 * k * times) / k for k in range(1, 12))
    return (0.1 * tone * (np.sin(2 * np.pi * 3 * times) > 0)).astype(np.float32)


def decibels(one, other):
    return 10 * np.log10(np.sum(np.square(one, dtype=np.float64)) / np.sum(np.square(other, dtype=np.float64)))


@pytest.mark.parametrize("level", [20.0, 7.0, 0.0])
def test_noise_has_requested_ratio(speech, level):
    chance = np.random.default_rng(1)
    speakers = [chance.standard_normal(SAMPLING_RATE // 3) * scale for scale in (0.001, 1.0, 5.0)]
    for perturbed in (
        noise.white(speech, level, chance),
        noise.babble(speech, level, chance, speakers),
        noise.overlap(speech, level, chance, speakers[0]),
    ):
        assert perturbed.shape == speech.shape
        assert decibels(speech, perturbed - speech) == pytest.approx(level, abs=0.01)


def test_babble_speakers_are_equally_loud(speech):
    times = np.arange(len(speech)) / SAMPLING_RATE
    speakers = [scale * np.sin(2 * np.pi * f * times) for scale, f in ((0.01, 400), (1.0, 900), (30.0, 1700))]
    added = noise.babble(speech, 0.0, np.random.default_rng(0), speakers) - speech
    spectrum = np.abs(np.fft.rfft(added)) ** 2
    parts = [spectrum[2 * f - 20 : 2 * f + 21].sum() for f in (400, 900, 1700)]
    assert np.ptp(parts) < 0.05 * np.mean(parts)


def test_short_speaker_repeats_over_long_clip(speech):
    added = noise.overlap(speech, 0.0, np.random.default_rng(3), np.full(500, 0.2)) - speech
    assert np.abs(added[-SAMPLING_RATE:]).min() > 0


def test_silent_speaker_changes_nothing(speech):
    assert np.array_equal(noise.overlap(speech, 0.0, np.random.default_rng(0), np.zeros(800)), speech)


@pytest.mark.parametrize("level", [20.0, 0.0])
def test_room_response_has_ratio_and_decay_time(level):
    response = noise.room_response(level, np.random.default_rng(0))
    assert decibels(response[:1], response[1:]) == pytest.approx(level, abs=1e-6)
    # Schroeder's backward integral of the tail falls by 60 dB in the reverberation time.
    tail = response[40:]
    decay = 10 * np.log10(np.cumsum(np.square(tail)[::-1])[::-1] / np.square(tail).sum())
    slope = np.polyfit(np.arange(4000) / SAMPLING_RATE, decay[:4000], 1)[0]
    assert -60 / slope == pytest.approx(noise.REVERBERATION_SECONDS, rel=0.1)


def test_reverberate_keeps_length_and_level(speech):
    wet = noise.reverberate(speech, 0.0, np.random.default_rng(0))
    assert wet.shape == speech.shape
    assert noise.rms(wet) == pytest.approx(noise.rms(speech), rel=1e-6)
    pause = slice(int(0.17 * SAMPLING_RATE), int(0.2 * SAMPLING_RATE))
    assert not speech[pause].any()
    assert noise.rms(wet[pause]) > 0.1 * noise.rms(speech)
    nearly_dry = noise.reverberate(speech, 60.0, np.random.default_rng(0))
    assert np.abs(nearly_dry - speech).max() < 0.01 * np.abs(speech).max()
