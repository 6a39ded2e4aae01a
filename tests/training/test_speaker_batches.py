# SPDX-License-Identifier: Apache-2.0
"""Batches of P speakers with K clips each, and their views."""

from collections import Counter

import pytest
from accelerate.data_loader import BatchSamplerShard
from torch.utils.data import BatchSampler

from mser_llm.io.errors import InputError
from mser_llm.training.data.samplers import BalancedSampler, SpeakerBatchSampler


SPEAKERS = [f"s{index % 7}" for index in range(70)] + ["once", "once", None, None, None, None]


def batches(sampler: SpeakerBatchSampler) -> list[list[int]]:
    items = list(sampler)
    assert len(items) == len(sampler)
    return [items[start : start + sampler.batch_size] for start in range(0, len(items), sampler.batch_size)]


def test_speaker_batches_have_p_speakers_with_k_clips():
    sampler = SpeakerBatchSampler(SPEAKERS, speakers_per_batch=5, clips_per_speaker=3, batches=40)
    drawn = Counter()
    for batch in batches(sampler):
        assert len(set(batch)) == 15
        assert sorted(Counter(SPEAKERS[clip] for clip in batch).values()) == [3] * 5
        drawn.update(batch)
    assert set(drawn) == set(range(70)), "every clip of a speaker with enough of them, and no other"


def test_speaker_batches_pair_each_clip_with_a_view():
    sampler = SpeakerBatchSampler(SPEAKERS, speakers_per_batch=4, clips_per_speaker=2, views=3, batches=30)
    views = Counter()
    for batch in batches(sampler):
        assert len(batch) == 16
        for clean, augmented in zip(batch[::2], batch[1::2], strict=True):
            assert clean // 3 == augmented // 3
            views.update([clean % 3, augmented % 3])
    assert views[0] == 240
    assert views[1] + views[2] == 240
    assert min(views[1], views[2]) > 60


def test_speaker_batches_are_shared_by_two_processes():
    sampler = SpeakerBatchSampler(SPEAKERS, speakers_per_batch=4, clips_per_speaker=3, batches=5)
    shares = [
        list(BatchSamplerShard(BatchSampler(sampler, 6, drop_last=False), num_processes=2, process_index=rank))
        for rank in range(2)
    ]
    joined = [first + second for first, second in zip(*shares, strict=True)]
    assert joined == batches(sampler)


def test_speaker_batches_differ_by_epoch_reproducibly():
    sampler, again = (SpeakerBatchSampler(SPEAKERS, 4, 2, seed=3) for _ in range(2))
    first = list(sampler)
    assert first == list(again)
    sampler.set_epoch(1)
    assert first != list(sampler)
    assert sampler.batches == 72 // 8, "two clips are enough here, and eight speakers have them"


def test_speaker_batches_reject_too_few_speakers():
    with pytest.raises(InputError) as raised:
        SpeakerBatchSampler(SPEAKERS)
    assert raised.value.source == "speakers_per_batch 16, clips_per_speaker 4"
    assert "7 of the 8 speakers" in raised.value.problem and "from 2 to 7" in raised.value.fix
    with pytest.raises(InputError) as raised:
        SpeakerBatchSampler(SPEAKERS, speakers_per_batch=1)
    assert raised.value.source.startswith("speakers_per_batch 1,")


def test_balanced_order_has_any_length_and_may_omit_clips():
    emotions = ["happy"] * 9 + ["sad"] * 3
    order = list(BalancedSampler(emotions, views=4, size=100, first_view=1))
    assert len(order) == 100
    assert {item % 4 for item in order} == {1, 2, 3}
    counts = Counter(emotions[item // 4] for item in order)
    assert counts["happy"] == counts["sad"] == 50
    assert {item % 2 for item in BalancedSampler(emotions, views=2, first_view=1)} == {1}
