# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mser_llm.data.schema import new_row
from mser_llm.evaluation.baselines.linear_probe import probe_layers, probe_weighted_layers
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


@pytest.mark.parametrize("c_values", [0.01, 1.0])
def test_weighted_classifier_of_one_layer_is_logistic(c_values):
    features, clips = speech(90, seed=3)
    one, truths = features[:60, TELLING : TELLING + 1], np.array(clips.truths[:60])
    truths[:10] = "sad"  # unequal classes, so that their weights matter
    ours = WeightedLayersClassifier(C=c_values).fit(one, truths)
    theirs = make_pipeline(
        StandardScaler(), LogisticRegression(C=c_values, class_weight="balanced", max_iter=2000, tol=1e-8)
    ).fit(one[:, 0], truths)
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
