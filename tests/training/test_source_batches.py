# SPDX-License-Identifier: Apache-2.0
"""Each batch has one source, drawn at random; within it emotions or languages are balanced."""

from collections import Counter
from itertools import pairwise

import pytest

from mser_llm.io.errors import InputError
from mser_llm.training.data.samplers import SourceBatchSampler


# 12 labelled English clips, one emotion of which is rare; 90 Polish and 6 German clips without labels.
EMOTIONS = ["sad"] * 8 + ["happy"] * 3 + ["angry"] + [None] * 96
LANGUAGES = ["en"] * 12 + ["pl"] * 90 + ["de"] * 6


def batches(order: SourceBatchSampler, epoch: int = 0) -> list[list[int]]:
    order.set_epoch(epoch)
    items = list(order)
    assert len(items) == len(order)
    return [items[start : start + order.batch_size] for start in range(0, len(items), order.batch_size)]


def test_source_batches_have_one_source_drawn_evenly():
    found = batches(SourceBatchSampler(EMOTIONS, LANGUAGES, batch_size=6, batches=400))
    labelled = [[EMOTIONS[item] is not None for item in batch] for batch in found]
    assert all(len(set(one)) == 1 for one in labelled)
    share = sum(one[0] for one in labelled) / 400
    assert 0.4 < share < 0.6, "not 12 of 108"
    # Sources do not alternate: a fair coin repeats itself about every second time.
    repeats = sum(first[0] == second[0] for first, second in pairwise(labelled))
    assert 150 < repeats < 250
    for batch in found:
        cells = Counter(EMOTIONS[item] or LANGUAGES[item] for item in batch)
        assert set(cells.values()) == ({2} if len(cells) == 3 else {3}), cells


def test_source_batches_draw_clips_of_a_cell_equally():
    counts = Counter(item for batch in batches(SourceBatchSampler(EMOTIONS, LANGUAGES, 6, 400)) for item in batch)
    for cell in (range(8), range(8, 11), range(12, 102), range(102, 108)):
        own = [counts[item] for item in cell]
        assert max(own) - min(own) <= 1


def test_source_batches_differ_by_epoch_reproducibly():
    order = SourceBatchSampler(EMOTIONS, LANGUAGES, 6, 50)
    assert batches(order) == batches(SourceBatchSampler(EMOTIONS, LANGUAGES, 6, 50))
    assert batches(order) != batches(order, 1) != batches(SourceBatchSampler(EMOTIONS, LANGUAGES, 6, 50, seed=9), 1)
    assert len(batches(SourceBatchSampler(EMOTIONS, LANGUAGES, 6))) == 18, "each clip once on average"


def test_source_batches_draw_views_with_or_without_the_clip():
    found = {item % 3 for item in SourceBatchSampler(EMOTIONS, LANGUAGES, 6, 50, views=3)}
    assert found == {0, 1, 2}
    items = list(SourceBatchSampler(EMOTIONS, LANGUAGES, 6, 50, views=3, first_view=1))
    assert {item % 3 for item in items} == {1, 2} and {item // 3 for item in items} >= set(range(12))


@pytest.mark.parametrize(("emotions", "word"), [([None] * 4, "without"), (["sad"] * 4, "with")])
def test_source_batches_reject_a_single_source(emotions, word):
    with pytest.raises(InputError) as raised:
        SourceBatchSampler(emotions, ["en"] * 4, 2)
    assert raised.value.source == "balance source" and raised.value.problem.endswith(f"all 4 clips are {word} one")
    assert "labelled_languages" in raised.value.fix
