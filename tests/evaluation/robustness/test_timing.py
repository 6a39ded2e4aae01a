# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from mser_llm.evaluation.robustness import timing
from processing_mser import SAMPLING_RATE


def tone(frequency, seconds, amplitude=0.3):
    return amplitude * np.sin(2 * np.pi * frequency * np.arange(int(seconds * SAMPLING_RATE)) / SAMPLING_RATE)


@pytest.mark.parametrize("factor", [0.7, 1.0, 1.3])
def test_change_speed_moves_length_and_pitch(factor):
    changed = timing.change_speed(tone(500, 2.0), factor)
    assert len(changed) == pytest.approx(2 * SAMPLING_RATE / factor, abs=2)
    spectrum = np.abs(np.fft.rfft(changed * np.hanning(len(changed))))
    assert spectrum.argmax() * SAMPLING_RATE / len(changed) == pytest.approx(500 * factor, abs=1)


def test_truncate_keeps_beginning_and_short_clips():
    sound = np.arange(3 * SAMPLING_RATE)
    assert np.array_equal(timing.truncate(sound, 2.0), sound[: 2 * SAMPLING_RATE])
    assert np.array_equal(timing.truncate(sound, 4.0), sound)


def test_join_takes_halves_at_equal_level():
    one, other = tone(200, 1.0, amplitude=0.5), tone(900, 3.0, amplitude=0.01)
    joined = timing.join(one, other)
    assert len(joined) == pytest.approx(2.0 * SAMPLING_RATE, abs=0.011 * SAMPLING_RATE)
    half = SAMPLING_RATE // 2
    assert np.array_equal(joined[:half], one[:half])
    after = slice(half + SAMPLING_RATE // 50, None)
    assert np.std(joined[after]) == pytest.approx(np.std(one), rel=0.01)
    assert np.abs(np.fft.rfft(joined[after])).argmax() == pytest.approx(
        900 * len(joined[after]) / SAMPLING_RATE, abs=2
    )


def test_join_has_no_step():
    one, other = np.full(1000, 0.3), np.full(2000, -0.3)
    assert np.abs(np.diff(timing.join(one, other))).max() < 0.01
