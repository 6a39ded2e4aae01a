# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from datatrove.data import Document
from m5ser_building.toy_corpus import toy_config

from mser_llm.data.schema import new_row
from mser_llm.m5ser.build_config import BuildConfig
from mser_llm.m5ser.clip import CLIP, Clip, clip_of
from mser_llm.m5ser.filters import LengthFilter, QualityFilter, clipping, f0_correlation, silence


def clip(samples, corpus="mead", translator="toy", source=None):
    speech = np.asarray(samples, dtype=np.float32)
    row = new_row(id="c", path="c.wav", corpus=corpus, emotion="sad")
    return Clip(row, "fr", source=speech if source is None else source, speech=speech, translator=translator)


def noise(count, seed=0):
    return 0.1 * np.random.default_rng(seed).standard_normal(count).astype(np.float32)


def apply(step, given):
    (document,) = step.run(iter([Document(text="", id="c", metadata={CLIP: given})]), 0, 1)
    rejection = clip_of(document).rejection
    assert (clip_of(document).speech is None) == (rejection is not None)
    return rejection


# 50 KB of 1000 bytes are 25,000 samples of two bytes, 1.5625 s; 20 KB are 10,000 samples, 0.625 s.
@pytest.mark.parametrize(
    ("corpus", "samples", "reason", "value"),
    [
        ("mead", 25_000, None, None),
        ("mead", 24_999, "smaller than 50 KB", 49.998),
        ("iemocap", 10_000, None, None),
        ("meld", 10_000, None, None),
        ("meld", 9_999, "smaller than 20 KB", 19.998),
        ("meld", 8_000, "smaller than 20 KB", 16.0),
        ("meld", 7_999, "shorter than 0.5 s", 7_999 / 16_000),
    ],
)
def test_length_filter_applies_the_papers_bounds_to_translations(corpus, samples, reason, value):
    config = BuildConfig()
    lengths = LengthFilter(config.min_seconds, config.kilobytes())
    assert apply(lengths, clip(noise(100), translator=None)) is None
    rejection = apply(lengths, clip(noise(samples), corpus))
    assert (rejection and rejection.reason) == reason
    assert (rejection and rejection.value) == value
    assert rejection is None or rejection.stage == "filter"


def voice(semitones, seconds=1.0):
    """Synthesize harmonics whose F0 follows semitones above 150 Hz, given at equal steps."""
    count = round(16_000 * seconds)
    course = np.interp(np.linspace(0, 1, count), np.linspace(0, 1, len(semitones)), semitones)
    phase = 2 * np.pi * np.cumsum(150 * 2 ** (course / 12)) / 16_000
    return 0.1 * sum(np.sin(k * phase) / k for k in range(1, 9)).astype(np.float32)


def test_clipping_and_silence_of_synthetic_clips():
    loud = noise(1000)
    loud[:250] = [1.0, -1.0] * 125
    assert clipping(loud) == 0.25
    half = np.concatenate([noise(16_000), np.zeros(16_000, np.float32)])
    assert silence(half) == 0.5
    # 39 dB below the loudest frame is sound, 41 dB is silence.
    level = np.ones(320)
    assert silence(np.concatenate([level, level * 10 ** (-39 / 20)])) == 0.0
    assert silence(np.concatenate([level, level * 10 ** (-41 / 20)])) == 0.5
    assert silence(np.zeros(3200)) == 1.0


def test_f0_correlation_compares_the_shape_of_the_contours():
    rise_fall = [0, 6, 0, -3]
    again = f0_correlation(voice([s + 5 for s in rise_fall], 1.7), voice(rise_fall))
    upside_down = f0_correlation(voice([-s for s in rise_fall]), voice(rise_fall))
    assert again > 0.98
    assert upside_down < -0.98
    assert f0_correlation(noise(16_000), voice(rise_fall)) is None
    assert f0_correlation(noise(100), voice(rise_fall)) is None


@pytest.mark.parametrize(
    ("bounds", "given", "reason", "value"),
    [
        ({"max_clipping": 0.2}, clip([1.0] * 250 + [0.1] * 750), "clipping above 0.2", 0.25),
        ({"max_clipping": 0.3}, clip([1.0] * 250 + [0.1] * 750), None, None),
        ({"max_silence": 0.4}, clip([0.5] * 3200 + [0.0] * 3200), "silence above 0.4", 0.5),
        ({"max_silence": 0.5}, clip([0.5] * 3200 + [0.0] * 3200), None, None),
        ({"duration_ratio": [0.5, 2.0]}, clip(noise(300), source=noise(100)), "duration ratio outside 0.5 to 2", 3.0),
        ({"duration_ratio": [0.5, 3.0]}, clip(noise(300), source=noise(100)), None, None),
        ({}, clip([1.0] * 1000, source=noise(10)), None, None),
        ({"max_clipping": 0.0, "max_silence": 0.0}, clip([1.0, 0.0] * 500, translator=None), None, None),
    ],
)
def test_quality_filter_applies_the_bounds_that_are_set(tmp_path, bounds, given, reason, value):
    rejection = apply(QualityFilter(toy_config(tmp_path, tmp_path, **bounds)), Clip(**vars(given)))
    found = rejection and (rejection.stage, rejection.reason, rejection.value)
    assert found == (reason and ("quality", reason, value))


def test_quality_filter_by_f0_correlation(tmp_path):
    quality = QualityFilter(toy_config(tmp_path, tmp_path, min_f0_correlation=0.5))
    assert apply(quality, clip(voice([0, 6, 0]), source=voice([2, 8, 2]))) is None
    rejection = apply(quality, clip(voice([0, -6, 0]), source=voice([0, 6, 0])))
    assert rejection.reason == "F0 correlation below 0.5"
    assert rejection.value < -0.9
    assert apply(quality, clip(noise(16_000), source=voice([0, 6, 0]))).value is None
