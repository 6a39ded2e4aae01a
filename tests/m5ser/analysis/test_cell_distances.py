# SPDX-License-Identifier: Apache-2.0
"""Distances against a double loop, the test against simulations in which the truth is known."""

import itertools

import numpy as np
import pytest
from scipy.stats import kstest, mannwhitneyu

from mser_llm.m5ser.analysis.cell_distances import (
    Design,
    cell_means,
    compare_cells,
    in_standard_deviations,
    independent_units,
    relative_to_speaker,
)


LANGUAGES, EMOTIONS = ["en", "fr", "de"], ["neutral", "happy", "sad", "angry", "fear"]


def make_design(rng, corpora=2, speakers=3, clips=3):
    """Every speaker speaks every emotion equally often."""
    sources = list(itertools.product(range(corpora), range(speakers), range(len(EMOTIONS)), range(clips)))
    corpus, speaker, emotion, _ = np.array(sources).T
    order = rng.permutation(len(sources))
    emotion, corpus, speaker = emotion[order], corpus[order], speaker[order]
    return Design(emotion, corpus, speaker, corpus * speakers + speaker, len(EMOTIONS), corpora)


def simulate(rng, design, effects, size=4, shared=1.0):
    """Features with what a translation takes from its source (voice, accident), a language's own and an emotion's.

    Args:
        effects: `(num_languages, num_emotions, size)`.
    """
    sources = len(design.emotion)
    voice = 2 * rng.standard_normal((10, 10, size))[design.corpus, design.speaker]
    accident = shared * rng.standard_normal((sources, size))
    language = 3 * rng.standard_normal((len(LANGUAGES), 1, size))
    own = 0.5 * rng.standard_normal((len(LANGUAGES), sources, size))
    return voice + accident + language + own + effects[:, design.emotion]


def features_of(seed, missing=0.1):
    rng = np.random.default_rng(seed)
    design = make_design(rng)
    features = simulate(rng, design, rng.standard_normal((1, len(EMOTIONS), 4)).repeat(3, axis=0))
    features[rng.random(features.shape[:2]) < missing] = np.nan
    # One number that could not be measured leaves the whole clip out.
    features[0, 0, 1] = np.nan
    return features, design


def loop_means(features, design):
    means = {}
    for language, corpus, emotion in itertools.product(range(len(LANGUAGES)), range(2), range(len(EMOTIONS))):
        clips = [
            features[language, source]
            for source in range(len(design.emotion))
            if design.corpus[source] == corpus
            and design.emotion[source] == emotion
            and not np.isnan(features[language, source]).any()
        ]
        means[language, corpus, emotion] = (np.mean(clips, axis=0), len(clips))
    return means


def test_a_cell_is_the_mean_of_its_whole_clips():
    features, design = features_of(0)
    means, counts = cell_means(features, design)
    for cell, (mean, count) in loop_means(features, design).items():
        assert counts[cell] == count
        assert np.allclose(means[cell], mean)


def loop_distances(features, design):
    """Squared distance of each two cells of different languages, a.b over clips of different units alone."""
    members = {
        (language, corpus, emotion): [
            source
            for source in range(len(design.emotion))
            if (design.corpus[source], design.emotion[source]) == (corpus, emotion)
            and not np.isnan(features[language, source]).any()
        ]
        for language, corpus, emotion in itertools.product(range(len(LANGUAGES)), range(2), range(len(EMOTIONS)))
    }
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


def test_distances_are_those_of_a_loop_over_clips_of_different_speakers():
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


def test_shuffling_deals_emotions_out_anew_within_a_speaker_of_a_corpus():
    design = make_design(np.random.default_rng(2))
    shuffled = design.shuffled(np.random.default_rng(0))

    def tally(one):
        return sorted(zip(one.corpus.tolist(), one.speaker.tolist(), one.emotion.tolist()))

    assert tally(shuffled) == tally(design)
    assert (shuffled.emotion != design.emotion).mean() > 0.4
    # Every order of a speaker's clips is as likely as any other.
    speaker = np.array([0, 1, 0, 0])
    small = Design(np.array([0, 0, 1, 2]), np.zeros(4, int), speaker, speaker, 3, 1)
    rng = np.random.default_rng(0)
    orders, counts = np.unique([small.shuffled(rng).emotion for _ in range(3000)], axis=0, return_counts=True)
    assert len(orders) == 6 and set(orders[:, 1]) == {0}
    assert counts.min() > 420 and counts.max() < 580


def test_who_is_independent_of_whom():
    corpus = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    speaker = np.array([0, 0, 1, 2, 3, 3, 4, 4])
    known = np.array([True, True, True, False, True, True, False, False])
    unit = independent_units(corpus, speaker, known)
    # A corpus of one voice has nothing but its clips; of unknown speakers each clip may be another's.
    assert (unit[0] == unit[1]) and len(set(unit)) == 7
    assert sorted(set(unit)) == list(range(7))


def p_values(effects, runs, key="p", language=None, **settings):
    found = []
    for seed in range(runs):
        rng = np.random.default_rng([7, seed])
        design = make_design(rng, corpora=1, speakers=8)
        features = relative_to_speaker(simulate(rng, design, effects(rng), **settings), design)
        figures = compare_cells(features, design, LANGUAGES, EMOTIONS, permutations=19, seed=seed)
        found.append((figures if language is None else figures["languages"][language])[key])
    return np.array(found)


def alike(rng):
    return rng.standard_normal((1, len(EMOTIONS), 4)).repeat(3, axis=0)


def test_without_an_effect_p_is_uniform_though_translations_share_their_source():
    found = p_values(lambda rng: np.zeros((3, len(EMOTIONS), 4)), 60, "p_clips", shared=2.0)
    # p takes the values 1/20 to 20/20; spread evenly within its step it is uniform between 0 and 1.
    even = found - np.random.default_rng(0).random(len(found)) / 20
    assert kstest(even, "uniform").pvalue > 0.01


def test_an_emotion_that_sounds_alike_in_all_languages_is_found():
    assert (p_values(alike, 15) <= 0.05).mean() >= 0.9


@pytest.mark.slow
def test_an_emotion_that_each_language_expresses_by_something_else_is_not_taken_for_kept():
    # Strong in every language, but never in the same direction.
    effects = 3 * np.eye(4)[:3, None, :] * np.array([-1, -0.5, 0, 0.5, 1])[:, None]
    found = p_values(lambda rng: effects, 60)
    assert (found <= 0.05).mean() <= 0.12
    # What the shuffling of clips alone would say.
    assert (p_values(lambda rng: effects, 60, "p_clips") <= 0.05).mean() > 0.2


@pytest.mark.slow
def test_a_language_that_lost_the_emotion_is_not_taken_for_one_that_kept_it():
    effects = np.random.default_rng(3).standard_normal((1, len(EMOTIONS), 4)).repeat(3, axis=0)
    effects[2] = 0
    assert (p_values(lambda rng: 2 * effects, 60, language="de") <= 0.05).mean() <= 0.12
    assert (p_values(lambda rng: 2 * effects, 10, language="fr") <= 0.05).mean() >= 0.9


def test_p_is_never_zero_and_a_speaker_of_one_emotion_proves_nothing():
    rng = np.random.default_rng(4)
    design = make_design(rng)
    alone = Design(design.emotion, design.corpus, design.emotion, design.unit, design.num_emotions, 2)
    features = simulate(rng, design, 9 * alike(rng))
    assert compare_cells(features, design, LANGUAGES, EMOTIONS, permutations=19)["p_clips"] == 0.05
    assert compare_cells(features, alone, LANGUAGES, EMOTIONS, permutations=19)["p"] == 1.0


@pytest.mark.slow
def test_the_interval_of_the_ratio_covers_the_true_ratio():
    effects = np.random.default_rng(5).standard_normal((1, len(EMOTIONS), 4)).repeat(3, axis=0)

    def ratio(seed, speakers):
        rng = np.random.default_rng([5, seed])
        design = make_design(rng, corpora=1, speakers=speakers, clips=4)
        features = relative_to_speaker(simulate(rng, design, effects, shared=0.5), design)
        return compare_cells(features, design, LANGUAGES, EMOTIONS, permutations=1)

    # What this number of speakers gives on the average.
    expected = np.exp(np.mean([np.log(ratio(seed, 10)["ratio"]) for seed in range(40)]))
    intervals = [ratio(seed, 10)["interval"] for seed in range(40)]
    assert 0.85 <= np.mean([low <= expected <= high for low, high in intervals]) <= 1.0


def test_a_speakers_mean_is_taken_away_in_each_language():
    features, design = features_of(6)
    relative = relative_to_speaker(features, design)
    for language, corpus, speaker in itertools.product(range(3), range(2), range(3)):
        chosen = (design.corpus == corpus) & (design.speaker == speaker)
        own = features[language, chosen]
        own = own[~np.isnan(own).any(axis=1)]
        kept = relative[language, chosen]
        assert np.allclose(kept[~np.isnan(kept).any(axis=1)], own - own.mean(axis=0))


def test_units_are_standard_deviations_and_what_never_varies_stays_zero():
    features, _ = features_of(8)
    features[..., 3] = 0.0
    scaled = in_standard_deviations(features)
    assert np.allclose(np.nanstd(scaled, axis=(0, 1)), [1, 1, 1, 0])


def test_too_few_clips_give_no_figures():
    features, design = features_of(9)
    assert compare_cells(features[:1], design, ["en"], EMOTIONS, permutations=1) is None
    few = design.take(np.arange(3))
    assert compare_cells(features[:, :3], few, LANGUAGES, EMOTIONS, permutations=1) is None
