# SPDX-License-Identifier: Apache-2.0
import itertools
import math
import random
from collections import Counter

import numpy as np
import pytest

from mser_llm.data.schema import new_row
from mser_llm.data.splits import speaker_split
from mser_llm.io.errors import InputError


def clips(speaker, emotion, count, corpus="a", language="en"):
    return [
        new_row(
            id=f"{speaker}-{emotion}-{i}",
            path=f"/{corpus}/{speaker}/{emotion}/{i}.wav",
            corpus=corpus,
            language=language,
            emotion=emotion,
            speaker=speaker,
        )
        for i in range(count)
    ]


@pytest.fixture
def rows():
    """Two corpora: ten balanced speakers of English, five of Polish."""
    rows = []
    for speaker in range(15):
        for emotion in ("sad", "happy", "angry"):
            corpus, language = ("a", "en") if speaker < 10 else ("b", "pl")
            rows += clips(f"{corpus}-{speaker}", emotion, 8, corpus, language)
    return rows


def test_speaker_split_separates_speakers_and_keeps_all_rows(rows):
    train, validation = speaker_split(rows, 0.2, seed=0)
    assert not {row["speaker"] for row in train} & {row["speaker"] for row in validation}
    assert sorted(row["id"] for row in train + validation) == sorted(row["id"] for row in rows)
    assert [row for row in rows if row in validation] == validation
    # 20 % of 15 equal speakers are three: two English and one Polish keep every share exact.
    assert Counter(row["corpus"] for row in validation) == {"a": 48, "b": 24}


def test_speaker_split_depends_on_the_seed(rows):
    chosen = [{row["speaker"] for row in speaker_split(rows, 0.2, seed)[1]} for seed in (0, 0, 1, 2, 3)]
    assert chosen[0] == chosen[1]
    assert len({frozenset(speakers) for speakers in chosen}) > 1


@pytest.mark.parametrize("fraction", [0.02, 0.1, 0.5, 0.9])
def test_speaker_split_finds_the_best_of_its_candidates(fraction):
    """Compare with a plain loop over every candidate."""
    draw = random.Random(0)
    rows = [row for s in range(9) for row in clips(f"s{s}", draw.choice(["sad", "happy"]), 1 + s, draw.choice("ab"))]
    rows += [{**row, "speaker": None} for row in clips("n", "angry", 12) + clips("n", "fear", 1, "b")]
    rng, best, lowest = np.random.default_rng(3), None, math.inf
    names = list(dict.fromkeys(row["speaker"] or row["id"] for row in rows))
    strata = [(row["corpus"], row["emotion"]) for row in rows]
    for _ in range(200):
        order = [names[index] for index in rng.permutation(len(names))]
        for end in range(1, len(order)):
            chosen = [(row["speaker"] or row["id"]) in order[:end] for row in rows]
            selected, total = Counter(itertools.compress(strata, chosen)), Counter(strata)
            error = sum(abs(selected[stratum] - fraction * total[stratum]) for stratum in total) / len(rows)
            train, test = ({row["emotion"] for row, one in zip(rows, chosen) if one is side} for side in (False, True))
            score = error + 100 * len({"sad", "happy", "angry", "fear"} - train) + len(train - test)
            if score < lowest - 1e-9:
                best, lowest = chosen, score
    with pytest.warns(UserWarning, match="have no speaker"):
        _, validation = speaker_split(rows, fraction, seed=3)
    assert validation == list(itertools.compress(rows, best))


def test_speaker_split_needs_two_speakers():
    train, validation = speaker_split(clips("p", "sad", 3) + clips("q", "sad", 3), 0.1, seed=0)
    assert (len(train), len(validation)) == (3, 3)
    for rows in (clips("p", "sad", 3), []):
        with pytest.raises(InputError) as caught:
            speaker_split(rows, 0.1, seed=0)
        assert caught.value.problem.startswith(f"{len(rows)} clips")


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5])
def test_speaker_split_rejects_wrong_fractions(rows, fraction):
    with pytest.raises(InputError, match=str(fraction)):
        speaker_split(rows, fraction, seed=0)


def test_clips_without_speaker_are_split_one_by_one():
    rows = [{**row, "speaker": None} for row in clips("p", "sad", 20) + clips("q", "happy", 20)]
    random.Random(0).shuffle(rows)
    with pytest.warns(UserWarning, match="40 of 40"):
        train, validation = speaker_split(rows, 0.1, seed=0)
    assert Counter(row["emotion"] for row in validation) == {"sad": 2, "happy": 2}
    assert len(train) == 36
