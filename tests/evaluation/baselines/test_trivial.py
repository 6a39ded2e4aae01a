# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from mser_llm.data.schema import new_row
from mser_llm.evaluation.baselines.baseline_systems import chance_level, majority_class
from mser_llm.evaluation.labeled_clips import LabeledClips


WORDS = ("neutral", "happy", "sad", "angry")


def clips(counts):
    truths = [word for word, count in counts.items() for _ in range(count)]
    rows = [new_row(id=str(i), path=f"{i}.wav", corpus="toy", speaker=f"s{i % 4}") for i in range(len(truths))]
    return LabeledClips(["toy"] * len(truths), rows, truths)


def test_chance_level_matches_simulation():
    test = clips({"neutral": 60, "happy": 25, "sad": 10, "angry": 5})
    metrics = chance_level(test, WORDS)
    assert metrics["UA"] == metrics["WA"] == 0.25
    random = np.random.default_rng(7)
    column = {word: place for place, word in enumerate(WORDS)}
    truths = np.array([column[truth] for truth in test.truths])
    # Counts of 2000 systems that guess, each a table of its own.
    tables = np.zeros((2000, 4, 4))
    guesses = random.integers(4, size=(2000, 100))
    np.add.at(tables, (np.arange(2000)[:, None], truths, guesses), 1)
    right, support = np.diagonal(tables, axis1=1, axis2=2), tables.sum(axis=2)
    f1 = 2 * right / (support + tables.sum(axis=1))
    drawn = {
        "UA": (right / support).mean(axis=1),
        "WA": right.sum(axis=1) / 100,
        "WF1": (f1 * support).sum(axis=1) / 100,
        "macro_F1": f1.mean(axis=1),
    }
    for name, values in drawn.items():
        assert metrics[name] == pytest.approx(np.mean(values), abs=0.008)
        assert metrics["intervals"][name] == pytest.approx(np.percentile(values, [2.5, 97.5]), abs=0.03)
    assert chance_level(clips({"happy": 30, "sad": 3}), WORDS)["UA"] == 0.25, "labels without clips count"


def test_majority_class_uses_training_clips_only():
    test = clips({"neutral": 2, "happy": 30, "sad": 4, "angry": 4})
    predictions = majority_class(["sad", "sad", "happy"], test, WORDS)
    assert set(predictions.predicted) == {"sad"}
    assert predictions.metrics()["UA"] == 0.25 and predictions.metrics()["WA"] == 0.1
    assert predictions.scores.tolist() == [[0, 0, 1, 0]] * 40
    assert set(majority_class(["angry", "happy"], test, WORDS).predicted) == {"happy"}, "the first of equal labels"
