# SPDX-License-Identifier: Apache-2.0
"""Compare correlations with scipy and numpy, and p values with simulations of a known effect."""

import numpy as np
import pytest
from scipy.stats import kstest, pearsonr, spearmanr

from mser_llm.m5ser.analysis.clip_measures import CONTOUR_POINTS, MEL_BANDS, SCALARS
from mser_llm.m5ser.analysis.figures import preservation_figure
from mser_llm.m5ser.analysis.measured_clips import MeasuredClips
from mser_llm.m5ser.analysis.preservation import (
    compare_with_source,
    correlation,
    fisher_interval,
    subtract_group_mean,
)


def clips_of(rng, kept, sources=60, speakers=4, missing=0.0, languages=("en", "fr")):
    """Simulate translations that keep a fraction of their source's deviation from its speaker's mean."""
    emotion, speaker = rng.integers(3, size=sources), rng.integers(speakers, size=sources)
    source = rng.standard_normal((sources, len(SCALARS)))
    contour = np.cumsum(rng.standard_normal((sources, CONTOUR_POINTS)), axis=1)
    scalars, contours = [], []
    for language in range(len(languages)):
        own = rng.standard_normal((sources, len(SCALARS)))
        course = np.cumsum(rng.standard_normal((sources, CONTOUR_POINTS)), axis=1)
        share = 1.0 if language == 0 else kept
        rest = np.sqrt(1 - share**2)
        scalars.append(share * source + rest * own + 3 * rng.standard_normal((speakers, len(SCALARS)))[speaker])
        contours.append(share * contour + rest * course)
    scalars = np.array(scalars)
    scalars[:, :, 0] = np.exp(0.1 * scalars[:, :, 0])
    scalars[rng.random(scalars.shape) < missing] = np.nan
    scalars[:, :, 0] = np.nan_to_num(scalars[:, :, 0], nan=1.0)
    return MeasuredClips(
        languages=list(languages),
        emotions=["neutral", "happy", "sad"],
        corpora=["one"],
        emotion=emotion,
        corpus=np.zeros(sources, dtype=int),
        speaker=speaker,
        speaker_known=np.ones(sources, dtype=bool),
        scalars=scalars.astype(np.float32),
        spectra=np.zeros((len(languages), sources, MEL_BANDS), dtype=np.float32),
        contours=np.array(contours, dtype=np.float32),
        errors=[],
        source_language="en",
    )


def test_correlations_are_scipys_after_subtracting_speaker_means():
    clips = clips_of(np.random.default_rng(0), kept=0.6, missing=0.1)
    found = compare_with_source(clips, permutations=19)["fr"]
    for name in ("f0_median", "f0_range", "energy", "rate", "tilt"):
        both = clips.scalar(name)
        known = ~np.isnan(both).any(axis=0)
        values, speakers = both[:, known], clips.speaker[known]
        means = {speaker: values[:, speakers == speaker].mean(axis=1) for speaker in speakers}
        first, second = values - np.transpose([means[speaker] for speaker in speakers])
        assert found[name]["pairs"] == known.sum() < 60
        assert found[name]["pearson"]["value"] == pytest.approx(pearsonr(first, second).statistic)
        assert found[name]["spearman"]["value"] == pytest.approx(spearmanr(first, second).statistic)


def test_duration_is_compared_as_a_ratio():
    clips = clips_of(np.random.default_rng(1), kept=0.6)
    seconds = clips.scalar("seconds")
    clips.scalars[1, :, 0] = (1.3 * seconds[0]).astype(np.float32)
    found = compare_with_source(clips, permutations=3)["fr"]
    assert found["duration"]["pearson"]["value"] == pytest.approx(1.0, abs=1e-5)
    assert found["duration_ratio"]["mean"] == pytest.approx(1.3, abs=1e-5)
    assert found["duration_ratio"]["spread"] == pytest.approx(1.0, abs=1e-5)


def test_contour_correlation_is_the_mean_over_pairs():
    clips = clips_of(np.random.default_rng(2), kept=0.7)
    clips.contours[1, 0] = 3.0
    clips.contours[0, 1] = np.nan
    found = compare_with_source(clips, permutations=19)["fr"]["f0_contour"]
    each = [np.corrcoef(clips.contours[0, i], clips.contours[1, i])[0, 1] for i in range(2, 60)]
    assert found["pairs"] == 58
    assert found["mean"]["value"] == pytest.approx(np.mean(each), abs=1e-5)
    assert found["mean"]["shuffled"]["p"] == 0.05


def test_fisher_interval_accounts_for_subtracted_means():
    rng = np.random.default_rng(3)
    first = rng.standard_normal(50)
    second = first + rng.standard_normal(50)
    own = pearsonr(first, second)
    low, high = own.confidence_interval(0.95)
    assert fisher_interval(own.statistic, 50, means_removed=1) == pytest.approx([low, high])
    covered = []
    for _ in range(400):
        group = np.repeat(np.arange(10), 4)
        one = rng.standard_normal(40)
        two = 0.6 * one + 0.8 * rng.standard_normal(40) + 5 * rng.standard_normal(10)[group]
        value = correlation(subtract_group_mean(one, group), subtract_group_mean(two, group))
        low, high = fisher_interval(value, 40, means_removed=10)
        covered.append(low <= 0.6 <= high)
    assert 0.92 <= np.mean(covered) <= 0.98


def test_p_is_uniform_without_and_small_with_an_effect():
    nothing, something = [], []
    for seed in range(24):
        for kept, into in ((0.0, nothing), (0.7, something)):
            clips = clips_of(np.random.default_rng([4, seed]), kept, sources=40)
            found = compare_with_source(clips, permutations=19, seed=seed)["fr"]
            into += [found["f0_median"]["pearson"]["shuffled"]["p"], found["f0_contour"]["mean"]["shuffled"]["p"]]
    even = np.array(nothing) - np.random.default_rng(0).random(len(nothing)) / 20
    assert kstest(even, "uniform").pvalue > 0.01
    assert np.mean(np.array(something) <= 0.05) > 0.9


def test_shuffling_within_emotions_removes_the_effect_of_emotion():
    rng = np.random.default_rng(5)
    clips = clips_of(rng, kept=0.0, sources=200)
    clips.scalars[:, :, 1] += 4 * clips.emotion
    found = compare_with_source(clips, permutations=199)["fr"]["f0_median"]["pearson"]
    assert found["value"] > 0.8 and found["shuffled"]["p"] == 0.005
    low, high = found["shuffled_same_emotion"]["interval"]
    assert low <= found["value"] <= high


def test_comparison_is_empty_without_sources_or_with_few_pairs():
    clips = clips_of(np.random.default_rng(6), kept=0.5, languages=("de", "fr"))
    assert compare_with_source(clips, permutations=3) == {}
    assert compare_with_source(clips_of(np.random.default_rng(6), kept=0.5, sources=9), permutations=3) == {}


def test_no_interval_with_too_few_pairs_per_speaker():
    """Twelve pairs minus the means of ten speakers leave two degrees of freedom."""
    clips = clips_of(np.random.default_rng(7), kept=0.5, sources=12)
    clips.emotion[:] = 0
    clips.speaker[:] = [0, 0, 1, 1, *range(2, 10)]
    found = compare_with_source(clips, permutations=19)["fr"]["f0_median"]
    assert [found[kind]["interval"] for kind in ("pearson", "spearman")] == [None, None]
    assert None not in found["pearson"]["shuffled"]["interval"]
    clips.speaker[:] = range(12)
    (alone,) = (of for name, of in compare_with_source(clips, permutations=19)["fr"].items() if name == "f0_contour")
    assert alone["mean"]["shuffled"] == {"mean": pytest.approx(alone["mean"]["value"]), "interval": None, "p": 1.0}
    figure = preservation_figure({"fr": {"f0_contour": alone, "f0_median": found}}, {"f0_contour": "a"}, {"fr": "b"})
    assert not figure.axes[0].patches
