# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from mser_llm.m5ser.translators.prosody import POINTS, ProsodyError, measure, slow, spread


pytest.importorskip("parselmouth")

RATE = 16_000
LIMITS = {"pitch_floor": 60.0, "pitch_ceiling": 500.0}


def hum(semitones, *, seconds=1.5, before=0.3, after=0.3, level=0.1, tilt=-6.0, noise=0.0, beat=0.0, rng=0):
    """Synthesize known prosody: harmonics of 100 Hz moved by `semitones(time)`, time from 0 to 1, and silence."""
    times = np.arange(int(seconds * RATE)) / RATE
    hertz = 100.0 * 2 ** (semitones(times / seconds) / 12)
    phase = 2 * np.pi * np.cumsum(hertz) / RATE
    voice = sum(k ** (tilt / 6.02) * np.sin(k * phase) * (k * hertz < 7_500) for k in range(1, 76))
    voice *= 1 + beat * np.sin(2 * np.pi * 38.0 * times)
    voice *= level / np.sqrt(np.mean(voice**2))
    clip = np.pad(voice, (int(before * RATE), int(after * RATE)))
    return clip + noise * np.random.default_rng(rng).standard_normal(len(clip))


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_measure_recovers_known_prosody(noise):
    prosody = measure(hum(lambda place: 8 * place - 4, noise=noise), RATE, **LIMITS)
    assert prosody.start == pytest.approx(0.3, abs=0.05)
    assert prosody.end == pytest.approx(1.8, abs=0.05)
    assert prosody.pitch == pytest.approx(12 * np.log2(100), abs=0.15)
    # From the 10th to the 90th percentile of a linear rise of 8 semitones.
    assert prosody.pitch_range == pytest.approx(6.4, abs=0.4)
    assert prosody.contour.shape == prosody.energy.shape == (POINTS,)
    assert np.abs(prosody.contour - np.linspace(-4, 4, POINTS)).max() < 0.5
    assert prosody.level == pytest.approx(-20.0, abs=0.7)
    assert np.abs(prosody.energy[5:-5]).max() < 2.0
    assert prosody.roughness < 0.05


def test_level_and_tilt_change_only_their_own_measures():
    plain = measure(hum(np.zeros_like), RATE, **LIMITS)
    soft = measure(hum(np.zeros_like, level=0.05), RATE, **LIMITS)
    dull = measure(hum(np.zeros_like, tilt=-9.0), RATE, **LIMITS)
    assert soft.level - plain.level == pytest.approx(-6.02, abs=0.05)
    np.testing.assert_allclose(soft.spectrum, plain.spectrum, atol=0.1)
    slope = np.polyfit(np.arange(13) / 3, (dull.spectrum - plain.spectrum)[:13], 1)[0]
    assert slope == pytest.approx(-3.0, abs=0.1)
    assert dull.pitch == pytest.approx(plain.pitch, abs=0.02)


def test_roughness_and_beat_of_a_modulated_voice():
    even, rough = (measure(hum(np.zeros_like, beat=beat), RATE, **LIMITS) for beat in (0.0, 0.5))
    # A sine of depth 0.5 has the root mean square 0.354.
    assert rough.roughness == pytest.approx(0.354, abs=0.03)
    assert rough.beat == pytest.approx(38.0, abs=1.0)
    assert even.roughness < 0.02


def test_noise_masks_bands_and_leaves_the_level():
    covered = measure(hum(np.zeros_like, tilt=-18.0, noise=0.01), RATE, **LIMITS)
    assert np.isnan(covered.spectrum[-1])
    assert np.isfinite(covered.spectrum[0])
    assert covered.level == pytest.approx(-20.0, abs=0.3)


def test_slow_and_spread_separate_phrase_and_syllables():
    places = (np.arange(POINTS) + 0.5) / POINTS
    phrase, syllables = 3 * np.cos(np.pi * places), np.sin(2 * np.pi * 8 * places)
    np.testing.assert_allclose(slow(phrase), phrase, atol=1e-9)
    assert np.abs(slow(syllables)).max() < 0.4
    assert spread(phrase + syllables) == pytest.approx(np.sqrt(0.5), abs=0.1)


def test_measure_raises_without_voiced_speech():
    for clip in (np.zeros(RATE), 0.1 * np.random.default_rng(0).standard_normal(RATE)):
        with pytest.raises(ProsodyError):
            measure(clip, RATE, **LIMITS)
