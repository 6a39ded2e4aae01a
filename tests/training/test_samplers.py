# SPDX-License-Identifier: Apache-2.0
"""Batches have even shares of emotions and languages, and are reproducible per epoch."""

from collections import Counter

import pytest

from mser_llm.training.data.samplers import BalancedSampler


# A skewed corpus: 40 happy clips in English, 6 in Polish, 8 sad clips in English, 3 angry clips in each.
EMOTIONS = ["happy"] * 46 + ["sad"] * 8 + ["angry"] * 6
LANGUAGES = ["en"] * 40 + ["pl"] * 6 + ["en"] * 8 + ["en"] * 3 + ["pl"] * 3


@pytest.mark.parametrize("batch_size", [6, 7, 12])
def test_batches_balance_emotions_and_languages(batch_size: int):
    sampler = BalancedSampler(EMOTIONS, LANGUAGES, seed=3)
    for epoch in range(3):
        sampler.set_epoch(epoch)
        order = list(sampler)
        assert len(order) == len(sampler) == 60
        for start in range(0, 60 - batch_size, batch_size):
            batch = order[start : start + batch_size]
            emotions = Counter(EMOTIONS[index] for index in batch)
            assert max(emotions.values()) - min(emotions[word] for word in ("happy", "sad", "angry")) <= 2
            happy = Counter(LANGUAGES[index] for index in batch if EMOTIONS[index] == "happy")
            assert abs(happy["en"] - happy["pl"]) <= 2


def test_batches_without_groups_keep_the_language_shares():
    sampler = BalancedSampler(EMOTIONS, seed=0)
    happy = Counter()
    for epoch in range(30):
        sampler.set_epoch(epoch)
        happy.update(LANGUAGES[index] for index in sampler if EMOTIONS[index] == "happy")
    assert happy["pl"] / happy.total() == pytest.approx(6 / 46, abs=0.03)


def test_sampler_uses_all_clips_of_a_class_before_repeating():
    counts = Counter(BalancedSampler(EMOTIONS, seed=5))
    for emotion in ("happy", "sad", "angry"):
        seen = [counts[index] for index, word in enumerate(EMOTIONS) if word == emotion]
        assert max(seen) - min(seen) <= 1


def test_epochs_differ_and_are_reproducible():
    sampler = BalancedSampler(EMOTIONS, LANGUAGES, seed=1)
    first = list(sampler)
    sampler.set_epoch(1)
    assert list(sampler) != first
    sampler.set_epoch(0)
    assert list(sampler) == first
    assert list(BalancedSampler(EMOTIONS, LANGUAGES, seed=2)) != first


def test_sampler_draws_views_with_their_clips():
    sampler = BalancedSampler(EMOTIONS, seed=1, views=3)
    order = list(sampler)
    assert {index % 3 for index in order} == {0, 1, 2}
    assert Counter(EMOTIONS[index // 3] for index in order) == {"happy": 20, "sad": 20, "angry": 20}
