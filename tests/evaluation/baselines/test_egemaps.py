# SPDX-License-Identifier: Apache-2.0
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from mser_llm.data.schema import new_row
from mser_llm.evaluation.baselines.egemaps import NUM_FUNCTIONALS, EgemapsEncoder, fit_egemaps_svm
from mser_llm.evaluation.labeled_clips import LabeledClips


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
