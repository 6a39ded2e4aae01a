# SPDX-License-Identifier: Apache-2.0
"""Classifiers are selected on held-out speakers; probes find the layer that encodes the emotion."""

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GroupKFold, StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mser_llm.data.schema import new_row
from mser_llm.evaluation.baselines.linear_probe import probe_layers, probe_weighted_layers
from mser_llm.evaluation.baselines.model_selection import probabilities, select_by_speakers
from mser_llm.evaluation.baselines.pooled_layers import PooledLayers
from mser_llm.evaluation.baselines.weighted_layers import WeightedLayersClassifier
from mser_llm.evaluation.labeled_clips import LabeledClips


WORDS = ("neutral", "happy", "sad")
TELLING = 2


def speech(count, seed):
    """Return features `(count, 4, 6)`, one layer of which encodes the emotion, and clips of six speakers."""
    random = np.random.default_rng(seed)
    truths = [WORDS[i % 3] for i in range(count)]
    features = random.normal(size=(count, 4, 6)).astype(np.float32)
    features[np.arange(count), TELLING, [i % 3 for i in range(count)]] += 2.5
    features[:, 1] *= 100.0  # a layer of large values without information
    rows = [
        new_row(id=str(i), path=f"{i}.wav", corpus="toy", speaker=f"s{i * 7 % 6}", language="de") for i in range(count)
    ]
    return features, LabeledClips(["toy"] * count, rows, truths)


def test_probe_layers_selects_informative_layer():
    features, clips = speech(120, seed=0)
    probes, chosen = probe_layers(features, clips, (0.01, 0.1))
    assert [probe.layer for probe in probes] == [0, 1, 2, 3]
    assert chosen.layer == TELLING and chosen is probes[TELLING]
    test_features, test = speech(60, seed=1)
    predictions = chosen.predictions(test_features, test, WORDS)
    own = make_pipeline(StandardScaler(), LogisticRegression(C=chosen.C, class_weight="balanced", max_iter=500)).fit(
        features[:, TELLING], clips.truths
    )
    assert predictions.predicted == own.predict(test_features[:, TELLING]).tolist()
    order = [list(own.classes_).index(word) for word in WORDS]
    assert np.allclose(predictions.scores, own.predict_proba(test_features[:, TELLING])[:, order])
    assert predictions.metrics()["UA"] > 0.8
    assert (predictions.ids[3], predictions.speakers[3], predictions.languages[3]) == ("3", "s3", "de")


def test_weighted_probe_finds_informative_layer():
    probe = probe_weighted_layers(*speech(120, seed=0), (0.1,))
    assert probe.layer is None
    assert sum(probe.layer_weights) == pytest.approx(1, abs=1e-5)
    assert np.argmax(probe.layer_weights) == TELLING and probe.layer_weights[TELLING] > 0.5
    test_features, test = speech(60, seed=1)
    predictions = probe.predictions(test_features, test, WORDS)
    assert predictions.metrics()["UA"] > 0.8
    assert np.allclose(predictions.scores.sum(axis=1), 1)


def test_weighted_probe_weights_equal_layers_equally():
    """Their mean is more informative than either; a penalty favoring large inputs would select one alone."""
    features, clips = speech(150, seed=0)
    features[np.arange(150), 3, [i % 3 for i in range(150)]] += 2.5
    weights = WeightedLayersClassifier(C=0.001).fit(features, np.array(clips.truths)).layer_weights_
    assert min(weights[2], weights[3]) > 0.4
    assert max(weights[0], weights[1]) < 0.1


@pytest.mark.parametrize("C", [0.01, 1.0])
def test_weighted_classifier_of_one_layer_is_logistic(C):
    features, clips = speech(90, seed=3)
    one, truths = features[:60, TELLING : TELLING + 1], np.array(clips.truths[:60])
    truths[:10] = "sad"  # unequal classes, so that their weights matter
    ours = WeightedLayersClassifier(C=C).fit(one, truths)
    logistic = LogisticRegression(C=C, class_weight="balanced", max_iter=2000, tol=1e-8)
    theirs = make_pipeline(StandardScaler(), logistic).fit(one[:, 0], truths)
    assert ours.classes_.tolist() == theirs.classes_.tolist()
    assert np.allclose(ours.predict_proba(features[60:, 2:3]), theirs.predict_proba(features[60:, TELLING]), atol=2e-3)
    features[:, :, 0] = 4.0
    constant = WeightedLayersClassifier().fit(features, np.array(clips.truths))
    assert np.isfinite(constant.predict_proba(features)).all()


def test_pooled_layers_match_mean_and_deviation(tiny):
    model, processor = tiny
    encoder = model.audio_tower
    waveforms = [np.random.default_rng(i).normal(0, 0.1, size) for i, size in enumerate((8000, 20_000))]
    pooled = PooledLayers(encoder, processor)([waveform.astype(np.float32) for waveform in waveforms])
    for waveform, vector in zip(waveforms, pooled, strict=True):
        inputs = processor.extract_features([waveform.astype(np.float32)])
        with torch.inference_mode():
            mask = inputs["input_features_mask"]
            states = encoder(inputs["input_features"], mask, output_layers=(0, 1, 2)).hidden_states
        kept = int(encoder.output_mask(mask).sum())
        expected = [
            np.concatenate([state[0, :kept].numpy().mean(0), state[0, :kept].numpy().std(0)]) for state in states
        ]
        assert vector.shape == (3, 64)
        assert np.allclose(vector.float().numpy(), expected, atol=2e-2)


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
