# SPDX-License-Identifier: Apache-2.0
"""The figures, against scikit-learn and a hand-worked table, and as `evaluate.Metric` modules loaded offline."""

import json
from pathlib import Path

import evaluate
import numpy as np
import pytest
from sklearn import metrics as reference

import mser_llm.evaluation.metrics as metrics_package
from mser_llm.evaluation.metrics import emotion_metrics
from processing_mser import UNPARSED, label_set


LABELS = label_set("seven").words
MODULES = Path(metrics_package.__file__).parent


def random_answers(seed: int, occurring: tuple[str, ...], unparsed: float, size: int = 200) -> tuple[list, list]:
    generator = np.random.default_rng(seed)
    truths = [str(word) for word in generator.choice(occurring, size)]
    guesses = generator.choice([*LABELS, *truths], size)
    answers = [UNPARSED if chance < unparsed else str(word) for chance, word in zip(generator.random(size), guesses)]
    return truths, answers


CASES = {
    "all labels": random_answers(0, LABELS, 0.1),
    "absent classes": random_answers(1, LABELS[:4], 0.1),
    "one class": random_answers(2, ("sad",), 0.2),
    "all unparsed": random_answers(3, LABELS, 1.1),
    "one clip": (["angry"], ["angry"]),
    "never right": (["angry", "sad"], ["sad", "angry"]),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("truths", "answers"), CASES.values(), ids=CASES)
def test_figures_are_those_of_scikit_learn(truths, answers):
    figures = emotion_metrics(truths, answers, LABELS)
    supported = [word for word in LABELS if word in truths]

    assert figures["n"] == len(truths)
    assert figures["supported_labels"] == len(supported)
    assert figures["WA"] == pytest.approx(reference.accuracy_score(truths, answers))
    assert figures["UA"] == pytest.approx(reference.balanced_accuracy_score(truths, answers))
    weighted = {"labels": LABELS, "average": "weighted", "zero_division": 0}
    assert figures["WF1"] == pytest.approx(reference.f1_score(truths, answers, **weighted))
    assert figures["precision"] == pytest.approx(reference.precision_score(truths, answers, **weighted))
    macro = {"labels": supported, "average": "macro", "zero_division": 0}
    assert figures["macro_F1"] == pytest.approx(reference.f1_score(truths, answers, **macro))
    recalls = reference.recall_score(truths, answers, labels=supported, average=None)
    assert [figures["recall"][word] for word in supported] == pytest.approx(list(recalls))
    assert all(figures["recall"][word] is None for word in set(LABELS) - set(supported))
    table = reference.confusion_matrix(truths, answers, labels=[*LABELS, UNPARSED])
    assert figures["confusion"] == table[:-1, :-1].tolist()
    assert figures["confusion_unparsed"] == table[:-1, -1].tolist()
    assert figures["unparsed"] == pytest.approx(answers.count(UNPARSED) / len(answers))
    assert json.loads(json.dumps(figures)) == figures


def test_hand_worked_table():
    truths = ["happy", "happy", "happy", "sad"]
    answers = ["happy", "happy", UNPARSED, "happy"]

    figures = emotion_metrics(truths, answers, ("happy", "sad", "angry"))

    # happy: recall 2/3, precision 2/3, F1 2/3; sad: recall 0, never said; angry: never true, never said.
    assert figures["WA"] == 2 / 4
    assert figures["UA"] == pytest.approx(1 / 3)
    assert figures["WF1"] == pytest.approx(3 / 4 * 2 / 3)
    assert figures["macro_F1"] == pytest.approx(1 / 3)
    assert figures["precision"] == pytest.approx(3 / 4 * 2 / 3)
    assert figures["unparsed"] == 1 / 4
    assert figures["recall"] == {"happy": pytest.approx(2 / 3), "sad": 0.0, "angry": None}
    assert figures["support"] == {"happy": 3, "sad": 1, "angry": 0}
    assert figures["confusion"] == [[2, 0, 0], [1, 0, 0], [0, 0, 0]]
    assert figures["confusion_unparsed"] == [1, 0, 0]


def test_none_is_unparsed():
    assert emotion_metrics(["sad", "angry"], [None, "angry"], LABELS) == emotion_metrics(
        ["sad", "angry"], [UNPARSED, "angry"], LABELS
    )


@pytest.mark.parametrize(
    ("truths", "answers", "labels", "message"),
    [
        ([], [], LABELS, "No clip to score"),
        (["sad"], ["sad", "sad"], LABELS, "1 references but 2 predictions"),
        (["calm"], ["sad"], LABELS, "Reference 'calm' at 0"),
        (["sad", "sad"], ["sad", "joyful"], LABELS, "Prediction 'joyful' at 1"),
        (["sad"], ["sad"], (), "distinct words"),
        (["sad"], ["sad"], ("sad", "sad"), "distinct words"),
        (["sad"], ["sad"], ("sad", UNPARSED), "cannot be a label"),
    ],
)
def test_what_cannot_be_scored_is_told(truths, answers, labels, message):
    with pytest.raises(ValueError, match=message):
        emotion_metrics(truths, answers, labels)


@pytest.fixture(scope="module", autouse=True)
def modules_cache(tmp_path_factory):
    """`evaluate` copies a module before it imports it: here, once for all tests, and not into the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("evaluate.config.HF_MODULES_CACHE", str(tmp_path_factory.mktemp("modules")))
        patch.setattr("evaluate.config.HF_EVALUATE_OFFLINE", True)
        yield


@pytest.mark.parametrize(
    ("module", "names"),
    {
        "weighted_accuracy": {"WA", "n"},
        "unweighted_accuracy": {"UA", "supported_labels", "n"},
        "weighted_f1": {"WF1", "n"},
        "macro_f1": {"macro_F1", "supported_labels", "n"},
        "weighted_precision": {"precision", "n"},
        "per_class_recall": {"recall", "support"},
        "confusion_counts": {"confusion", "confusion_unparsed"},
        "unparsed_rate": {"unparsed", "n"},
        "emotion_recognition": None,
    }.items(),
)
def test_metric_modules_load_offline_and_agree(module, names, tmp_path):
    truths, answers = CASES["absent classes"]

    metric = evaluate.load(str(MODULES / f"{module}.py"), cache_dir=str(tmp_path), keep_in_memory=True)
    computed = metric.compute(references=truths, predictions=answers, labels=list(LABELS))

    expected = emotion_metrics(truths, answers, LABELS)
    assert computed == (expected if names is None else {name: expected[name] for name in names})


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_metric_accepts_batches_as_they_come(tmp_path):
    truths, answers = CASES["all labels"]
    metric = evaluate.load(str(MODULES / "unweighted_accuracy.py"), cache_dir=str(tmp_path))

    for start in range(0, len(truths), 64):
        metric.add_batch(references=truths[start : start + 64], predictions=answers[start : start + 64])

    assert metric.compute(labels=list(LABELS))["UA"] == pytest.approx(
        reference.balanced_accuracy_score(truths, answers)
    )
