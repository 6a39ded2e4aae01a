# SPDX-License-Identifier: Apache-2.0
"""Evaluate corpora: results, predictions and errors."""

import csv
import json

import numpy as np
import pytest
import soundfile
from PIL import Image
from sklearn.metrics import balanced_accuracy_score, confusion_matrix

from mser_llm.evaluation.evaluation import EvaluationError, evaluate_corpora, file_stems
from mser_llm.evaluation.predictions import read_predictions
from mser_llm.evaluation.statistics.bootstrap import intervals
from mser_llm.evaluation.statistics.calibration import ece
from mser_llm.inference.prediction_cache import PredictionCache
from mser_llm.inference.recognition import recognize
from mser_llm.inference.scoring_options import ScoringOptions
from mser_llm.io.errors import InputError
from processing_mser import SAMPLING_RATE, UNPARSED, label_set


FOUR = label_set("four")


def row(path, emotion, **fields) -> dict:
    blank = {"id": path.stem, "audio": {"bytes": None, "path": str(path)}, "emotion": emotion, "language": None}
    return blank | {"speaker": None, **fields}


@pytest.fixture
def corpora(tmp_path) -> dict[str, list[dict]]:
    """Create two corpora with emotions outside the label set, a merged one, and a broken file."""
    generator = np.random.default_rng(0)
    rows = []
    for number in range(14):
        path = tmp_path / f"clip {number}, ü.wav"
        soundfile.write(path, 0.3 * generator.standard_normal(int(SAMPLING_RATE * generator.uniform(0.3, 1.2))), 16000)
        emotion = ("neutral", "happy", "sad", "excited", "calm", "angry", "disgust")[number % 7]
        rows.append(row(path, emotion, language="el" if number < 4 else "ru", speaker=f"s{number}"))
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF")
    return {"folder:Ελλάδα / one": [*rows[:8], row(broken, "sad", language="el")], "emodb": rows[8:]}


@pytest.fixture
def evaluated(tiny, corpora, tmp_path):
    output = tmp_path / "made" / "here"
    results = evaluate_corpora(
        *tiny, corpora, FOUR, ScoringOptions(batch_size=3), output_dir=output, model_name="tiny", progress=False
    )
    return results, output


def test_results_json_equals_returned_results(evaluated):
    results, output = evaluated
    assert json.loads((output / "results.json").read_text(encoding="utf-8")) == results
    promised = {"WA", "UA", "WF1", "macro_F1", "precision", "unparsed", "n", "dropped", "supported_labels", "recall"}
    for metrics in results["corpora"].values():
        assert promised | {"confusion"} <= set(metrics)
    assert results["labels"] == list(FOUR.words)
    assert results["model"] == "tiny"
    assert results["prompt"] == "v1"
    assert {"torch", "transformers", "python", "mser-llm"} <= set(results["versions"])


def test_evaluate_corpora_matches_scikit_learn(evaluated, tiny, corpora):
    results, _ = evaluated
    everything = []
    for name, rows in corpora.items():
        kept = [r for r in rows if r["emotion"] in (*FOUR.words, "excited") and "broken" not in r["id"]]
        truths = ["happy" if r["emotion"] == "excited" else r["emotion"] for r in kept]
        predicted = [prediction.label for prediction in recognize(*tiny, [r["audio"] for r in kept], FOUR.words)]
        everything += zip(truths, predicted, [r["language"] for r in kept], strict=True)
        metrics = results["corpora"][name]
        assert metrics["UA"] == pytest.approx(balanced_accuracy_score(truths, predicted))
        assert metrics["confusion"] == confusion_matrix(truths, predicted, labels=FOUR.words).tolist()
        assert metrics["n"] == len(kept)
        assert metrics["chance"] == 1 / len(FOUR.words)
    truths, predicted, _ = zip(*everything, strict=True)
    assert results["pooled"]["UA"] == pytest.approx(balanced_accuracy_score(truths, predicted))
    assert set(results["languages"]) == {"el", "ru"}
    greek = [(truth, prediction) for truth, prediction, language in everything if language == "el"]
    assert results["languages"]["el"]["UA"] == pytest.approx(balanced_accuracy_score(*zip(*greek, strict=True)))


def test_evaluate_corpora_counts_every_row(evaluated, corpora):
    results, _ = evaluated
    first, second = results["corpora"].values()
    assert (first["dropped"], first["dropped_emotions"]) == (2, {"calm": 1, "disgust": 1})
    assert (second["dropped"], second["errors"], second["error_clips"]) == (2, 0, [])
    assert first["errors"] == 1
    (error,) = first["error_clips"]
    assert error["id"] == "broken"
    assert error["file"] in error["error"]
    for metrics, rows in zip((first, second), corpora.values(), strict=True):
        assert metrics["n"] + metrics["dropped"] + metrics["errors"] == len(rows)


def test_predictions_csv_lists_every_clip(evaluated, corpora):
    results, output = evaluated
    with open(output / "predictions.csv", encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0]) == [
        *("corpus", "id", "file", "speaker", "gender", "language", "emotion", "prediction"),
        *(f"p_{word}" for word in FOUR.words),
        "error",
    ]
    assert len(lines) == sum(metrics["n"] + metrics["errors"] for metrics in results["corpora"].values())
    originals = {(name, r["id"]): r for name, rows in corpora.items() for r in rows}
    for line in lines:
        original = originals[line["corpus"], line["id"]]
        assert line["file"] == original["audio"]["path"]
        assert line["emotion"] == FOUR.map(original["emotion"])
        assert (line["language"], line["speaker"]) == (original["language"], original["speaker"] or "")
        if line["id"] == "broken":
            assert line["error"]
            assert line["prediction"] == line["p_sad"] == ""
        else:
            probabilities = {word: float(line[f"p_{word}"]) for word in FOUR.words}
            assert sum(probabilities.values()) == pytest.approx(1, abs=1e-5)
            assert probabilities[line["prediction"]] == max(probabilities.values())


def test_results_intervals_match_predictions_csv(evaluated):
    results, output = evaluated
    written = read_predictions(output)
    for name, metrics in results["corpora"].items():
        own = written.subset([corpus == name for corpus in written.corpora])
        assert metrics["intervals"] == {metric: list(ends) for metric, ends in intervals(own).items()}
        assert metrics["clusters"] == len(set(own.speakers))
        assert metrics["calibration"]["ece"] == pytest.approx(ece(own), abs=1e-5)
    assert set(results["pooled"]["groups"]) == {"language", "corpus"}
    languages = results["pooled"]["groups"]["language"]["groups"]
    assert {code: group["n"] for code, group in languages.items()} == {"el": 4, "ru": 6}
    assert {(gap["scope"], gap["by"]) for gap in results["gaps"]} == {("all", "language"), ("corpus", "language")}


def test_evaluate_corpora_compares_prompts(tiny, corpora):
    _, processor = tiny
    one = {"emodb": corpora["emodb"]}
    results = evaluate_corpora(*tiny, one, FOUR, prompts=["v3", "v2"], progress=False)
    assert list(results["prompts"]) == ["v1", "v3", "v2"]
    assert (results["prompt"], processor.prompt_version) == ("v1", "v1")
    for version, metrics in results["prompts"].items():
        alone = evaluate_corpora(tiny[0], processor.with_prompt(version), one, FOUR, progress=False)["corpora"][
            "emodb"
        ]
        assert metrics["UA"] == metrics["corpora"]["emodb"]["UA"] == alone["UA"]
        assert "prompts" not in alone
    values = [metrics["WA"] for metrics in results["prompts"].values()]
    assert results["prompt_spread"]["WA"] == pytest.approx(max(values) - min(values))
    with pytest.raises(InputError, match="v0"):
        evaluate_corpora(*tiny, one, FOUR, prompts=["v0"])
    processor.prompt_version = None
    with pytest.raises(InputError, match="classifier"):
        evaluate_corpora(*tiny, one, FOUR, prompts=["v2"])


def test_cache_needs_deferred_model(tiny, corpora, tmp_path):
    with pytest.raises(InputError, match="DeferredModel"):
        evaluate_corpora(*tiny, {"emodb": corpora["emodb"]}, FOUR, cache=PredictionCache(tmp_path))


def test_output_has_one_confusion_matrix_per_corpus(evaluated):
    _, output = evaluated
    pictures = {"confusion_folder_Ελλάδα_one.png", "confusion_emodb.png"}
    assert {path.name for path in output.iterdir()} == pictures | {"results.json", "predictions.csv"}
    for picture in pictures:
        assert min(Image.open(output / picture).size) > 200


def test_file_stems_are_unique():
    assert list(file_stems(["a b", "a/b", "a_b"]).values()) == ["a_b", "a_b_2", "a_b_3"]


def test_generation_counts_unparsed_predictions(tiny, corpora, tmp_path):
    """The weights are random, so no label can be parsed from the generated text."""
    results = evaluate_corpora(
        *tiny, {"emodb": corpora["emodb"]}, "four", ScoringOptions(decode="generate"), output_dir=tmp_path / "out"
    )
    metrics = results["corpora"]["emodb"]
    assert metrics["unparsed"] == 1.0
    assert metrics["UA"] == metrics["WA"] == metrics["WF1"] == 0.0
    assert sum(metrics["confusion_unparsed"]) == metrics["n"]
    with open(tmp_path / "out" / "predictions.csv", encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert "text" in lines[0]
    assert {line["prediction"] for line in lines} == {UNPARSED}


def test_corpus_outside_labels_is_rejected_early(corpora, tmp_path):
    with pytest.raises(EvaluationError, match=r"emodb: .*tired, bored.*calm"):
        evaluate_corpora(None, None, {"emodb": corpora["emodb"]}, "tired,bored", output_dir=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    unlabelled = {"mine": [{**row, "emotion": None} for row in corpora["emodb"]]}
    with pytest.raises(EvaluationError, match=r"mine: .*\(no emotion\)"):
        evaluate_corpora(None, None, unlabelled, "four")


def test_unreadable_corpus_is_rejected_without_output(tiny, corpora, tmp_path):
    rows = [r | {"audio": {"bytes": None, "path": "/nowhere.wav"}} for r in corpora["emodb"]]
    with pytest.raises(EvaluationError, match=r"emodb: .* 4 clips .*/nowhere\.wav"):
        evaluate_corpora(*tiny, {"emodb": rows}, "four", output_dir=tmp_path / "out", progress=False)
    assert list((tmp_path / "out").iterdir()) == []


def test_evaluate_corpora_rejects_no_corpus(tiny):
    with pytest.raises(EvaluationError):
        evaluate_corpora(*tiny, {}, "four")


def test_single_corpus_has_no_pooled_results(tiny, corpora):
    results = evaluate_corpora(*tiny, {"emodb": corpora["emodb"]}, "four", progress=False)
    assert "pooled" not in results
    assert "languages" not in results
    assert results["merges"] == {"excited": "happy"}
