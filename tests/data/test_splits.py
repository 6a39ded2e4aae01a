# SPDX-License-Identifier: Apache-2.0
import itertools
import math
import random
import warnings
from collections import Counter

import numpy as np
import pytest

from mser_llm.data.schema import new_row
from mser_llm.data.splits import SpeakerLeakError, check_speaker_leak, speaker_split


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


def test_nobody_speaks_on_both_sides_and_nothing_is_lost(rows):
    train, validation = speaker_split(rows, 0.2, seed=0)
    assert not {row["speaker"] for row in train} & {row["speaker"] for row in validation}
    assert sorted(row["id"] for row in train + validation) == sorted(row["id"] for row in rows)
    assert [row for row in rows if row in validation] == validation
    # 20 % of 15 equal speakers are three: two of English and one of Polish keep every share exact.
    assert Counter(row["corpus"] for row in validation) == {"a": 48, "b": 24}


def test_equal_seeds_give_equal_splits_and_others_do_not(rows):
    chosen = [{row["speaker"] for row in speaker_split(rows, 0.2, seed)[1]} for seed in (0, 0, 1, 2, 3)]
    assert chosen[0] == chosen[1]
    assert len({frozenset(speakers) for speakers in chosen}) > 1


@pytest.mark.parametrize("fraction", [0.02, 0.1, 0.5, 0.9])
def test_no_beginning_that_would_be_better_is_passed_over(fraction):
    """The rule as it is stated, by a plain loop over every beginning of every order."""
    draw = random.Random(0)
    rows = [row for s in range(9) for row in clips(f"s{s}", draw.choice(["sad", "happy"]), 1 + s, draw.choice("ab"))]
    rows += [{**row, "speaker": None} for row in clips("n", "angry", 12) + clips("n", "fear", 1, "b")]
    rng, best, least = np.random.default_rng(3), None, math.inf
    names = list(dict.fromkeys(row["speaker"] or row["id"] for row in rows))
    strata = [(row["corpus"], row["emotion"]) for row in rows]
    for _ in range(200):
        order = [names[index] for index in rng.permutation(len(names))]
        for end in range(1, len(order)):
            held = [(row["speaker"] or row["id"]) in order[:end] for row in rows]
            took, total = Counter(itertools.compress(strata, held)), Counter(strata)
            off = sum(abs(took[stratum] - fraction * total[stratum]) for stratum in total) / len(rows)
            heard, judged = ({row["emotion"] for row, one in zip(rows, held) if one is side} for side in (False, True))
            score = off + 100 * len({"sad", "happy", "angry", "fear"} - heard) + len(heard - judged)
            if score < least - 1e-9:
                best, least = held, score
    with pytest.warns(UserWarning, match="have no speaker"):
        _, validation = speaker_split(rows, fraction, seed=3)
    assert validation == list(itertools.compress(rows, best))


def test_the_only_speaker_of_an_emotion_stays_in_training():
    rows = [row for speaker in "pqrs" for row in clips(speaker, "sad", 5)] + clips("t", "fear", 5)
    for seed in range(5):
        train, validation = speaker_split(rows, 0.2, seed)
        assert "fear" in {row["emotion"] for row in train}
        assert validation


def test_two_speakers_are_enough_and_one_is_not():
    train, validation = speaker_split(clips("p", "sad", 3) + clips("q", "sad", 3), 0.1, seed=0)
    assert (len(train), len(validation)) == (3, 3)
    with pytest.raises(ValueError, match=r"3 clips of 1 speaker.*add clips of another speaker"):
        speaker_split(clips("p", "sad", 3), 0.1, seed=0)
    with pytest.raises(ValueError, match="0 clips of 0 speaker"):
        speaker_split([], 0.1, seed=0)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5])
def test_a_fraction_outside_its_range(rows, fraction):
    with pytest.raises(ValueError, match="between 0 and 1"):
        speaker_split(rows, fraction, seed=0)


def test_clips_without_a_speaker_are_split_singly_with_a_warning():
    rows = [{**row, "speaker": None} for row in clips("p", "sad", 20) + clips("q", "happy", 20)]
    random.Random(0).shuffle(rows)
    with pytest.warns(UserWarning, match="40 of 40 clips have no speaker"):
        train, validation = speaker_split(rows, 0.1, seed=0)
    assert Counter(row["emotion"] for row in validation) == {"sad": 2, "happy": 2}
    assert len(train) == 36


def test_a_leak_is_refused_by_name():
    train, test = clips("p", "sad", 2) + clips("q", "sad", 2), clips("r", "sad", 2) + clips("q", "happy", 1)
    with pytest.raises(SpeakerLeakError, match=r"1 speaker\(s\) are in training and in test: q;"):
        check_speaker_leak(train, test)


def test_a_clip_without_a_speaker_on_both_sides_is_refused():
    (clip,) = [{**row, "speaker": None} for row in clips("p", "sad", 1)]
    with pytest.raises(SpeakerLeakError, match=r"1 clip\(s\).*/a/p/sad/0\.wav"):
        check_speaker_leak([clip], [clip])


def test_independent_sides_pass_and_null_speakers_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_speaker_leak(clips("p", "sad", 2), clips("q", "sad", 2))
    null = [{**row, "speaker": None} for row in clips("r", "sad", 2)]
    with pytest.warns(UserWarning, match="cannot be checked: 0 of 2 training and 2 of 2 test"):
        check_speaker_leak(clips("p", "sad", 2), null)
