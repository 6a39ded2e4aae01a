# SPDX-License-Identifier: Apache-2.0
"""Batches have even shares of emotions and languages, one source, or P speakers with K clips each."""

from collections import Counter
from itertools import pairwise

import pytest
from accelerate.data_loader import BatchSamplerShard
from torch.utils.data import BatchSampler

from mser_llm.io.errors import InputError
from mser_llm.training.data.samplers import BalancedSampler, SourceBatchSampler, SpeakerBatchSampler


# A skewed corpus: 40 happy clips in English, 6 in Polish, 8 sad clips in English, 3 angry clips in each.
EMOTIONS = ["happy"] * 46 + ["sad"] * 8 + ["angry"] * 6
LANGUAGES = ["en"] * 40 + ["pl"] * 6 + ["en"] * 8 + ["en"] * 3 + ["pl"] * 3
# 12 labelled English clips with one rare emotion; 90 Polish and 6 German clips without labels.
SOURCES = ["sad"] * 8 + ["happy"] * 3 + ["angry"] + [None] * 96, ["en"] * 12 + ["pl"] * 90 + ["de"] * 6
SPEAKERS = [f"s{index % 7}" for index in range(70)] + ["once", "once", None, None, None, None]


def batches(sampler) -> list[list[int]]:
    items = list(sampler)
    assert len(items) == len(sampler)
    return [items[start : start + sampler.batch_size] for start in range(0, len(items), sampler.batch_size)]


@pytest.mark.parametrize(
    ("build", "options"),
    [
        (BalancedSampler, (EMOTIONS, LANGUAGES)),
        (SourceBatchSampler, (*SOURCES, 6, 50)),
        (SpeakerBatchSampler, (SPEAKERS, 4, 2)),
    ],
)
def test_sampler_differs_by_epoch_and_seed_reproducibly(build, options):
    sampler, again = (build(*options, seed=1) for _ in range(2))
    first = list(sampler)
    assert first == list(again) != list(build(*options, seed=9))
    sampler.set_epoch(1)
    assert list(sampler) != first
    sampler.set_epoch(0)
    assert list(sampler) == first


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


def test_batches_without_groups_use_all_clips_of_a_class_equally():
    sampler, happy = BalancedSampler(EMOTIONS), Counter()
    for epoch in range(30):
        sampler.set_epoch(epoch)
        counts = Counter(sampler)
        happy.update(LANGUAGES[index] for index in counts.elements() if EMOTIONS[index] == "happy")
        for emotion in ("happy", "sad", "angry"):
            seen = [counts[index] for index, word in enumerate(EMOTIONS) if word == emotion]
            assert max(seen) - min(seen) <= 1
    assert happy["pl"] / happy.total() == pytest.approx(6 / 46, abs=0.03)


def test_balanced_order_has_any_length_and_draws_views_of_its_clips():
    order = list(BalancedSampler(EMOTIONS, seed=1, views=3))
    assert {index % 3 for index in order} == {0, 1, 2}
    assert Counter(EMOTIONS[index // 3] for index in order) == {"happy": 20, "sad": 20, "angry": 20}
    order = list(BalancedSampler(EMOTIONS, views=4, size=99, first_view=1))
    assert {index % 4 for index in order} == {1, 2, 3}
    assert Counter(EMOTIONS[index // 4] for index in order) == {"happy": 33, "sad": 33, "angry": 33}
    assert {index % 2 for index in BalancedSampler(EMOTIONS, views=2, first_view=1)} == {1}


def test_source_batches_have_one_source_drawn_evenly():
    emotions, languages = SOURCES
    found = batches(SourceBatchSampler(*SOURCES, batch_size=6, batches=400))
    labelled = [[emotions[item] is not None for item in batch] for batch in found]
    assert all(len(set(one)) == 1 for one in labelled)
    assert 0.4 < sum(one[0] for one in labelled) / 400 < 0.6, "not 12 of 108"
    # Sources do not alternate: a fair coin repeats itself about every second time.
    assert 150 < sum(first[0] == second[0] for first, second in pairwise(labelled)) < 250
    for batch in found:
        cells = Counter(emotions[item] or languages[item] for item in batch)
        assert set(cells.values()) == ({2} if len(cells) == 3 else {3}), cells
    counts = Counter(item for batch in found for item in batch)
    for cell in (range(8), range(8, 11), range(12, 102), range(102, 108)):
        own = [counts[item] for item in cell]
        assert max(own) - min(own) <= 1
    assert len(batches(SourceBatchSampler(*SOURCES, 6))) == 18, "each clip once on average"


def test_source_batches_draw_views_with_or_without_the_clip():
    assert {item % 3 for item in SourceBatchSampler(*SOURCES, 6, 50, views=3)} == {0, 1, 2}
    items = list(SourceBatchSampler(*SOURCES, 6, 50, views=3, first_view=1))
    assert {item % 3 for item in items} == {1, 2} and {item // 3 for item in items} >= set(range(12))


@pytest.mark.parametrize(("emotions", "word"), [([None] * 4, "without"), (["sad"] * 4, "with")])
def test_source_batches_reject_a_single_source(emotions, word):
    with pytest.raises(InputError) as raised:
        SourceBatchSampler(emotions, ["en"] * 4, 2)
    assert raised.value.source == "balance source" and raised.value.problem.endswith(f"all 4 clips are {word} one")
    assert "labelled_languages" in raised.value.fix


def test_speaker_batches_have_p_speakers_with_k_clips():
    drawn = Counter()
    for batch in batches(SpeakerBatchSampler(SPEAKERS, speakers_per_batch=5, clips_per_speaker=3, batches=40)):
        assert len(set(batch)) == 15
        assert sorted(Counter(SPEAKERS[clip] for clip in batch).values()) == [3] * 5
        drawn.update(batch)
    assert set(drawn) == set(range(70)), "every clip of a speaker with enough of them, and no other"
    two = SpeakerBatchSampler(SPEAKERS, 4, 2)
    assert len(batches(two)) == 72 // 8, "two clips are enough here, and eight speakers have them"


def test_speaker_batches_pair_each_clip_with_a_view():
    views = Counter()
    for batch in batches(
        SpeakerBatchSampler(SPEAKERS, speakers_per_batch=4, clips_per_speaker=2, views=3, batches=30)
    ):
        assert len(batch) == 16
        for clean, augmented in zip(batch[::2], batch[1::2], strict=True):
            assert clean // 3 == augmented // 3
            views.update([clean % 3, augmented % 3])
    assert views[0] == views[1] + views[2] == 240 and min(views[1], views[2]) > 60


def test_speaker_batches_are_shared_by_two_processes():
    sampler = SpeakerBatchSampler(SPEAKERS, speakers_per_batch=4, clips_per_speaker=3, batches=5)
    shares = [
        list(BatchSamplerShard(BatchSampler(sampler, 6, drop_last=False), num_processes=2, process_index=rank))
        for rank in range(2)
    ]
    assert [first + second for first, second in zip(*shares, strict=True)] == batches(sampler)


def test_speaker_batches_reject_too_few_speakers():
    with pytest.raises(InputError) as raised:
        SpeakerBatchSampler(SPEAKERS)
    assert raised.value.source == "speakers_per_batch 16, clips_per_speaker 4"
    assert "7 of the 8 speakers" in raised.value.problem and "from 2 to 7" in raised.value.fix
    with pytest.raises(InputError) as raised:
        SpeakerBatchSampler(SPEAKERS, speakers_per_batch=1)
    assert raised.value.source.startswith("speakers_per_batch 1,")
