# SPDX-License-Identifier: Apache-2.0
"""Metrics against scikit-learn and a table worked out manually, and as an `evaluate.Metric` loaded offline."""

import json
from pathlib import Path

import evaluate
import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

import mser_llm.evaluation.metrics as metrics_package
from mser_llm.evaluation.metrics import emotion_metrics
from mser_llm.io.errors import InputError
from processing_mser import UNPARSED, label_set


LABELS = label_set("seven").words
MODULE = str(Path(metrics_package.__file__).parent / "emotion_recognition.py")


def random_predictions(seed: int, occurring: tuple[str, ...], unparsed: float, size: int = 200) -> tuple[list, list]:
    generator = np.random.default_rng(seed)
    references = [str(word) for word in generator.choice(occurring, size)]
    guesses = generator.choice([*LABELS, *references], size)
    predictions = [
        UNPARSED if chance < unparsed else str(word) for chance, word in zip(generator.random(size), guesses)
    ]
    return references, predictions


CASES = {
    "all labels": random_predictions(0, LABELS, 0.1),
    "absent classes": random_predictions(1, LABELS[:4], 0.1),
    "one class": random_predictions(2, ("sad",), 0.2),
    "all unparsed": random_predictions(3, LABELS, 1.1),
    "one clip": (["angry"], ["angry"]),
    "never right": (["angry", "sad"], ["sad", "angry"]),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("references", "predictions"), CASES.values(), ids=CASES)
def test_emotion_metrics_match_scikit_learn(references, predictions):
    metrics = emotion_metrics(references, predictions, LABELS)
    supported = [word for word in LABELS if word in references]

    assert metrics["n"] == len(references)
    assert metrics["supported_labels"] == len(supported)
    assert metrics["WA"] == pytest.approx(sklearn_metrics.accuracy_score(references, predictions))
    assert metrics["UA"] == pytest.approx(sklearn_metrics.balanced_accuracy_score(references, predictions))
    weighted = {"labels": LABELS, "average": "weighted", "zero_division": 0}
    assert metrics["WF1"] == pytest.approx(sklearn_metrics.f1_score(references, predictions, **weighted))
    assert metrics["precision"] == pytest.approx(sklearn_metrics.precision_score(references, predictions, **weighted))
    macro = {"labels": supported, "average": "macro", "zero_division": 0}
    assert metrics["macro_F1"] == pytest.approx(sklearn_metrics.f1_score(references, predictions, **macro))
    recalls = sklearn_metrics.recall_score(references, predictions, labels=supported, average=None)
    assert [metrics["recall"][word] for word in supported] == pytest.approx(list(recalls))
    assert all(metrics["recall"][word] is None for word in set(LABELS) - set(supported))
    table = sklearn_metrics.confusion_matrix(references, predictions, labels=[*LABELS, UNPARSED])
    assert metrics["confusion"] == table[:-1, :-1].tolist()
    assert metrics["confusion_unparsed"] == table[:-1, -1].tolist()
    assert metrics["unparsed"] == pytest.approx(predictions.count(UNPARSED) / len(predictions))
    assert json.loads(json.dumps(metrics)) == metrics


def test_emotion_metrics_match_manual_example():
    references = ["happy", "happy", "happy", "sad"]
    predictions = ["happy", "happy", UNPARSED, "happy"]

    metrics = emotion_metrics(references, predictions, ("happy", "sad", "angry"))

    # happy: recall 2/3, precision 2/3, F1 2/3; sad: recall 0, never predicted; angry: neither true nor predicted.
    assert metrics["WA"] == 2 / 4
    assert metrics["UA"] == pytest.approx(1 / 3)
    assert metrics["WF1"] == pytest.approx(3 / 4 * 2 / 3)
    assert metrics["macro_F1"] == pytest.approx(1 / 3)
    assert metrics["precision"] == pytest.approx(3 / 4 * 2 / 3)
    assert metrics["unparsed"] == 1 / 4
    assert metrics["recall"] == {"happy": pytest.approx(2 / 3), "sad": 0.0, "angry": None}
    assert metrics["support"] == {"happy": 3, "sad": 1, "angry": 0}
    assert metrics["confusion"] == [[2, 0, 0], [1, 0, 0], [0, 0, 0]]
    assert metrics["confusion_unparsed"] == [1, 0, 0]
    assert emotion_metrics(references, ["happy", "happy", None, "happy"], ("happy", "sad", "angry")) == metrics


@pytest.mark.parametrize(
    ("references", "predictions", "labels", "source"),
    [
        ([], [], LABELS, "references"),
        (["sad"], ["sad", "sad"], LABELS, "predictions"),
        (["calm"], ["sad"], LABELS, "references"),
        (["sad", "sad"], ["sad", "joyful"], LABELS, "predictions"),
        (["sad"], ["sad"], (), "labels"),
        (["sad"], ["sad"], ("sad", "sad"), "labels"),
        (["sad"], ["sad"], ("sad", UNPARSED), "labels"),
    ],
)
def test_emotion_metrics_rejects_bad_input(references, predictions, labels, source):
    with pytest.raises(InputError) as caught:
        emotion_metrics(references, predictions, labels)
    assert caught.value.source == source


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_metric_module_loads_offline_and_accepts_batches(tmp_path, monkeypatch):
    # `evaluate` copies a module before it imports it: here, not into the user's cache.
    monkeypatch.setattr("evaluate.config.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr("evaluate.config.HF_EVALUATE_OFFLINE", True)
    references, predictions = CASES["absent classes"]
    metric = evaluate.load(MODULE, cache_dir=str(tmp_path))
    for start in range(0, len(references), 64):
        metric.add_batch(references=references[start : start + 64], predictions=predictions[start : start + 64])
    assert metric.compute(labels=list(LABELS)) == emotion_metrics(references, predictions, LABELS)
