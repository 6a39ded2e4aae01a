# SPDX-License-Identifier: Apache-2.0
"""Compare distances with a double loop, and the test with simulations of a known effect."""

import itertools

import numpy as np
import pytest
from scipy.stats import kstest, mannwhitneyu

from mser_llm.m5ser.analysis.cell_distances import (
    Design,
    cell_means,
    compare_cells,
    independent_units,
    relative_to_speaker,
    shuffle_within,
    standardize,
)


LANGUAGES, EMOTIONS = ["en", "fr", "de"], ["neutral", "happy", "sad", "angry", "fear"]


def make_design(rng, corpora=2, speakers=3, clips=3):
    """Generate a design in which every speaker has every emotion equally often."""
    sources = list(itertools.product(range(corpora), range(speakers), range(len(EMOTIONS)), range(clips)))
    corpus, speaker, emotion, _ = np.array(sources).T
    order = rng.permutation(len(sources))
    emotion, corpus, speaker = emotion[order], corpus[order], speaker[order]
    return Design(emotion, corpus, speaker, corpus * speakers + speaker, len(EMOTIONS), corpora)


def simulate(rng, design, effects, size=4, shared=1.0):
    """Simulate features: effects of the source (voice, noise), of the language and of the emotion.

    Args:
        effects: `(num_languages, num_emotions, size)`.
    """
    sources = len(design.emotion)
    voice = 2 * rng.standard_normal((10, 10, size))[design.corpus, design.speaker]
    noise = shared * rng.standard_normal((sources, size))
    language = 3 * rng.standard_normal((len(LANGUAGES), 1, size))
    own = 0.5 * rng.standard_normal((len(LANGUAGES), sources, size))
    return voice + noise + language + own + effects[:, design.emotion]


def features_of(seed, missing=0.1):
    rng = np.random.default_rng(seed)
    design = make_design(rng)
    features = simulate(rng, design, rng.standard_normal((1, len(EMOTIONS), 4)).repeat(3, axis=0))
    features[rng.random(features.shape[:2]) < missing] = np.nan
    # One missing value excludes the clip.
    features[0, 0, 1] = np.nan
    return features, design


def members_of(features, design):
    """Return the sources of each cell, in a loop."""
    return {
        (language, corpus, emotion): [
            source
            for source in range(len(design.emotion))
            if (design.corpus[source], design.emotion[source]) == (corpus, emotion)
            and not np.isnan(features[language, source]).any()
        ]
        for language, corpus, emotion in itertools.product(range(len(LANGUAGES)), range(2), range(len(EMOTIONS)))
    }


def test_cell_means_are_those_of_a_loop():
    features, design = features_of(0)
    means, counts = cell_means(features, design)
    for cell, sources in members_of(features, design).items():
        assert counts[cell] == len(sources)
        assert np.allclose(means[cell], np.mean(features[cell[0], sources], axis=0))


def loop_distances(features, design):
    """Compute the squared distances of cells of different languages, with a.b over clips of different units only."""
    members = members_of(features, design)
    means = {cell: np.mean(features[cell[0], sources], axis=0) for cell, sources in members.items()}
    distances = {}
    for one, other in itertools.combinations(members, 2):
        if one[0] != other[0]:
            products = [
                features[one[0], first] @ features[other[0], second]
                for first, second in itertools.product(members[one], members[other])
                if design.unit[first] != design.unit[second]
            ]
            squared = means[one] @ means[one] + means[other] @ means[other] - 2 * np.mean(products)
            distances[one, other] = squared / features.shape[2]
    return distances


def test_distances_are_those_of_a_loop_over_different_speakers():
    features, design = features_of(1)
    found = compare_cells(features, design, LANGUAGES, EMOTIONS, permutations=3)
    distances = loop_distances(features, design)

    def mean(kind, among=lambda one, other: True):
        same = kind == "same"
        squared = [d for pair, d in distances.items() if (pair[0][2] == pair[1][2]) == same and among(*pair)]
        return np.sqrt(np.mean(squared))

    assert found["same"] == pytest.approx(mean("same"))
    assert found["different"] == pytest.approx(mean("different"))
    assert found["ratio"] == pytest.approx(mean("same") / mean("different"))
    assert (found["pairs_same"], found["pairs_different"]) == (60, 240)
    for kind in ("same", "different"):
        assert found["languages"]["fr"][kind] == pytest.approx(mean(kind, lambda one, other: 1 in (one[0], other[0])))
        assert found["emotions"]["sad"][kind] == pytest.approx(mean(kind, lambda one, other: 2 in (one[2], other[2])))
    same = [d for (one, other), d in distances.items() if one[2] == other[2]]
    different = [d for (one, other), d in distances.items() if one[2] != other[2]]
    further = mannwhitneyu(different, same, method="asymptotic").statistic
    assert found["nearer"] == pytest.approx(further / (60 * 240))


def test_permutations_stay_within_groups_and_are_equally_likely():
    design = make_design(np.random.default_rng(2))
    permuted = design.permuted(np.random.default_rng(0))

    def tally(one):
        return sorted(zip(one.corpus.tolist(), one.speaker.tolist(), one.emotion.tolist()))

    assert tally(permuted) == tally(design)
    assert (permuted.emotion != design.emotion).mean() > 0.4
    group = np.array([0, 1, 0, 1, 1, 2])
    rng = np.random.default_rng(0)
    orders = np.array([shuffle_within(group, rng) for _ in range(2400)])
    assert (group[orders] == group).all()
    assert (np.sort(orders, axis=1) == np.arange(6)).all()
    found, counts = np.unique(orders, axis=0, return_counts=True)
    assert len(found) == 2 * 6 and counts.min() > 140 and counts.max() < 260


def test_independent_units_are_speakers_or_clips():
    corpus = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    speaker = np.array([0, 0, 1, 2, 3, 3, 4, 4])
    known = np.array([True, True, True, False, True, True, False, False])
    unit = independent_units(corpus, speaker, known)
    # A corpus of one speaker has only clips as units; each clip of unknown speakers may have its own.
    assert (unit[0] == unit[1]) and len(set(unit)) == 7
    assert sorted(set(unit)) == list(range(7))


def p_values(effects, runs, key="p", language=None, **settings):
    found = []
    for seed in range(runs):
        rng = np.random.default_rng([7, seed])
        design = make_design(rng, corpora=1, speakers=8)
        features = relative_to_speaker(simulate(rng, design, effects(rng), **settings), design)
        statistics = compare_cells(features, design, LANGUAGES, EMOTIONS, permutations=19, seed=seed)
        found.append((statistics if language is None else statistics["languages"][language])[key])
    return np.array(found)


def alike(rng):
    return rng.standard_normal((1, len(EMOTIONS), 4)).repeat(3, axis=0)


def test_p_clips_is_uniform_without_an_effect():
    found = p_values(lambda rng: np.zeros((3, len(EMOTIONS), 4)), 60, "p_clips", shared=2.0)
    # p takes the values 1/20 to 20/20; with uniform noise within a step it is uniform between 0 and 1.
    even = found - np.random.default_rng(0).random(len(found)) / 20
    assert kstest(even, "uniform").pvalue > 0.01


def test_p_is_small_if_the_emotion_sounds_alike():
    assert (p_values(alike, 15) <= 0.05).mean() >= 0.9


@pytest.mark.slow
def test_p_is_not_small_if_each_language_expresses_it_differently():
    # Strong in every language, but in different directions.
    effects = 3 * np.eye(4)[:3, None, :] * np.array([-1, -0.5, 0, 0.5, 1])[:, None]
    found = p_values(lambda rng: effects, 60)
    assert (found <= 0.05).mean() <= 0.12
    # The permutation of clips alone rejects too often.
    assert (p_values(lambda rng: effects, 60, "p_clips") <= 0.05).mean() > 0.2


@pytest.mark.slow
def test_p_of_a_language_that_lost_the_emotion_is_not_small():
    effects = np.random.default_rng(3).standard_normal((1, len(EMOTIONS), 4)).repeat(3, axis=0)
    effects[2] = 0
    assert (p_values(lambda rng: 2 * effects, 60, language="de") <= 0.05).mean() <= 0.12
    assert (p_values(lambda rng: 2 * effects, 10, language="fr") <= 0.05).mean() >= 0.9


def test_p_is_never_zero_and_one_emotion_per_speaker_gives_one():
    rng = np.random.default_rng(4)
    design = make_design(rng)
    alone = Design(design.emotion, design.corpus, design.emotion, design.unit, design.num_emotions, 2)
    features = simulate(rng, design, 9 * alike(rng))
    assert compare_cells(features, design, LANGUAGES, EMOTIONS, permutations=19)["p_clips"] == 0.05
    assert compare_cells(features, alone, LANGUAGES, EMOTIONS, permutations=19)["p"] == 1.0


@pytest.mark.slow
def test_interval_covers_the_true_ratio():
    effects = np.random.default_rng(5).standard_normal((1, len(EMOTIONS), 4)).repeat(3, axis=0)

    def ratio(seed, speakers):
        rng = np.random.default_rng([5, seed])
        design = make_design(rng, corpora=1, speakers=speakers, clips=4)
        features = relative_to_speaker(simulate(rng, design, effects, shared=0.5), design)
        return compare_cells(features, design, LANGUAGES, EMOTIONS, permutations=1)

    # The expected ratio with this number of speakers.
    expected = np.exp(np.mean([np.log(ratio(seed, 10)["ratio"]) for seed in range(40)]))
    intervals = [ratio(seed, 10)["interval"] for seed in range(40)]
    assert 0.85 <= np.mean([low <= expected <= high for low, high in intervals]) <= 1.0


def test_relative_to_speaker_and_standardize():
    features, design = features_of(6)
    relative = relative_to_speaker(features, design)
    for language, corpus, speaker in itertools.product(range(3), range(2), range(3)):
        chosen = (design.corpus == corpus) & (design.speaker == speaker)
        own = features[language, chosen]
        own = own[~np.isnan(own).any(axis=1)]
        kept = relative[language, chosen]
        assert np.allclose(kept[~np.isnan(kept).any(axis=1)], own - own.mean(axis=0))
    features[..., 3] = 0.0
    assert np.allclose(np.nanstd(standardize(features), axis=(0, 1)), [1, 1, 1, 0])


def test_compare_cells_returns_none_with_too_few_clips():
    features, design = features_of(9)
    assert compare_cells(features[:1], design, ["en"], EMOTIONS, permutations=1) is None
    few = design.take(np.arange(3))
    assert compare_cells(features[:, :3], few, LANGUAGES, EMOTIONS, permutations=1) is None
