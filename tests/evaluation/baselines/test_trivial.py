# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from mser_llm.data.schema import new_row
from mser_llm.evaluation.baselines.trivial import chance_level, majority_class
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
    guesses = [random.choice(WORDS, size=100) for _ in range(600)]
    drawn = {
        "UA": [balanced_accuracy_score(test.truths, guess) for guess in guesses],
        "WA": [accuracy_score(test.truths, guess) for guess in guesses],
        "WF1": [f1_score(test.truths, guess, average="weighted") for guess in guesses[:200]],
        "macro_F1": [f1_score(test.truths, guess, average="macro") for guess in guesses[:200]],
    }
    for name, values in drawn.items():
        assert metrics[name] == pytest.approx(np.mean(values), abs=0.008)
        assert metrics["intervals"][name] == pytest.approx(np.percentile(values, [2.5, 97.5]), abs=0.03)


def test_chance_level_counts_labels_without_clips():
    assert chance_level(clips({"happy": 30, "sad": 3}), WORDS)["UA"] == 0.25


def test_majority_class_uses_training_clips_only():
    test = clips({"neutral": 2, "happy": 30, "sad": 4, "angry": 4})
    predictions = majority_class(["sad", "sad", "happy"], test, WORDS)
    assert set(predictions.predicted) == {"sad"}
    assert predictions.metrics()["UA"] == 0.25 and predictions.metrics()["WA"] == 0.1
    assert predictions.scores.tolist() == [[0, 0, 1, 0]] * 40


def test_majority_class_breaks_ties_by_label_order():
    assert set(majority_class(["angry", "happy"], clips({"sad": 3}), WORDS).predicted) == {"happy"}
