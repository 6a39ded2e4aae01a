# SPDX-License-Identifier: Apache-2.0
"""Guessing, the majority class, and eGeMAPS + SVM."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from mser_llm.data.schema import new_row
from mser_llm.evaluation.baselines.baseline_systems import chance_level, majority_class
from mser_llm.evaluation.baselines.egemaps import NUM_FUNCTIONALS, EgemapsEncoder, fit_egemaps_svm
from mser_llm.evaluation.labeled_clips import LabeledClips


WORDS = ("neutral", "happy", "sad", "angry")


def voice(pitch, seconds, amplitude=0.1):
    """A harmonic tone."""
    times = np.arange(int(seconds * 16_000)) / 16_000
    return (amplitude * sum(np.sin(2 * np.pi * pitch * k * times) / k for k in range(1, 12))).astype(np.float32)


@pytest.fixture(scope="module")
def encoder():
    pytest.importorskip("opensmile")
    return EgemapsEncoder(SimpleNamespace())


def test_egemaps_functionals_describe_sound(encoder):
    names = encoder.smile.feature_names
    low, high, soft = (vector.numpy() for vector in encoder([voice(120, 1.0), voice(240, 1.5), voice(120, 1.0, 0.02)]))
    assert low.shape == (NUM_FUNCTIONALS,) and len(names) == NUM_FUNCTIONALS
    pitch = names.index("F0semitoneFrom27.5Hz_sma3nz_amean")
    for vector, hertz in ((low, 120), (high, 240)):
        assert vector[pitch] == pytest.approx(12 * np.log2(hertz / 27.5), abs=0.3)
    loudness = names.index("loudness_sma3_amean")
    assert soft[loudness] < 0.7 * low[loudness]
    assert np.array_equal(encoder([voice(240, 1.5)])[0], high), "the batch does not matter"


def test_egemaps_without_opensmile_names_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "opensmile", None)
    with pytest.raises(ImportError, match=r"mser-llm\[baselines\]") as raised:
        EgemapsEncoder(SimpleNamespace())
    assert "\n" not in str(raised.value)


def test_egemaps_svm_matches_scikit_learn():
    random = np.random.default_rng(0)
    truths = np.array(["sad", "happy", "angry"] * 40)
    # A ring around a core cannot be separated linearly, so the kernel matters.
    radius = np.select([truths == "sad", truths == "happy"], [0.3, 1.5], 3.0)
    angle = random.uniform(0, 2 * np.pi, 120)
    features = np.column_stack([radius * np.cos(angle), radius * np.sin(angle)]) + random.normal(0, 0.1, (120, 2))
    rows = [new_row(id=str(i), path="x", corpus="toy", speaker=f"s{i % 7}") for i in range(120)]
    machine = fit_egemaps_svm(features, LabeledClips(["toy"] * 120, rows, truths.tolist()))
    kernel, cost = machine.name
    assert kernel == "rbf" and machine.best_validation > 0.9
    fresh = random.normal(0, 2, (50, 2))
    own = make_pipeline(StandardScaler(), SVC(C=cost, kernel="rbf", class_weight="balanced")).fit(features, truths)
    assert np.array_equal(machine.classifier.predict(fresh), own.predict(fresh))


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
