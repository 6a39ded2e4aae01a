# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GroupKFold, StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mser_llm.evaluation.baselines.model_selection import probabilities, select_by_speakers


@pytest.fixture
def speaker_clips():
    """Ten distant speakers and two emotions that differ a little in the same direction."""
    random = np.random.default_rng(0)
    speakers = np.repeat([f"s{i}" for i in range(10)], 30)
    truths = np.where(random.random(300) < 0.5, "sad", "happy")
    # Each speaker mostly has one emotion, so knowing the speaker helps only for known speakers.
    for i in range(10):
        own = np.flatnonzero(speakers == f"s{i}")
        truths[own[:24]] = ("sad", "happy")[i % 2]
    identity = np.repeat(random.normal(0, 30, (10, 3)), 30, axis=0)
    features = np.column_stack([identity, (truths == "sad") + random.normal(0, 0.6, 300)])
    return features, truths, speakers


class SpeakerMemory(ClassifierMixin, BaseEstimator):
    """Predict the most frequent emotion of a known speaker."""

    def fit(self, X, y):
        self.nearest_ = KNeighborsClassifier(15).fit(X[:, :3], y)
        self.classes_ = self.nearest_.classes_
        return self

    def predict(self, X):
        return self.nearest_.predict(X[:, :3])


def test_select_by_speakers_rejects_memorization(speaker_clips):
    features, truths, speakers = speaker_clips
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    random_folds = cross_val_predict(SpeakerMemory(), features, truths, cv=folds)
    assert balanced_accuracy_score(truths, random_folds) > 0.7
    honest = make_pipeline(StandardScaler(), LogisticRegression(C=1.0))
    choice = select_by_speakers({"memory": SpeakerMemory(), "honest": honest}, features, truths, speakers)
    assert choice.name == "honest"
    assert choice.validation["memory"] < 0.6


def test_select_by_speakers_matches_scikit_learn(speaker_clips):
    features, truths, speakers = speaker_clips
    candidates = {c: make_pipeline(StandardScaler(), LogisticRegression(C=c)) for c in (0.01, 1.0)}
    choice = select_by_speakers(candidates, features, truths, speakers)
    for name, candidate in candidates.items():
        predicted = cross_val_predict(candidate, features, truths, groups=speakers, cv=GroupKFold(5))
        assert choice.validation[name] == pytest.approx(balanced_accuracy_score(truths, predicted))
    refitted = candidates[choice.name].fit(features, truths)
    assert np.array_equal(choice.classifier.predict(features), refitted.predict(features))


def test_select_by_speakers_needs_two_speakers_and_emotions():
    features, truths = np.arange(8.0)[:, None], np.array(["sad", "happy"] * 4)
    choice = select_by_speakers({0: DummyClassifier()}, features, truths, np.repeat(["a", "b"], 4))
    assert choice.validation == {0: 0.5}
    with pytest.raises(ValueError, match=r"8 .*speaker \(a\)"):
        select_by_speakers({0: DummyClassifier()}, features, truths, np.repeat(["a"], 8))
    with pytest.raises(ValueError, match=r"emotion \(sad\)"):
        select_by_speakers({0: DummyClassifier()}, features, np.repeat(["sad"], 8), np.repeat(["a", "b"], 4))


def test_probabilities_follow_label_order():
    features, truths = np.array([[0.0], [1.0], [4.0], [5.0]]), np.array(["sad", "sad", "angry", "angry"])
    classifier = LogisticRegression().fit(features, truths)
    scores = probabilities(classifier, features, ("happy", "sad", "angry"))
    assert np.array_equal(scores[:, 0], np.zeros(4))
    assert np.allclose(scores[:, [2, 1]], classifier.predict_proba(features))
