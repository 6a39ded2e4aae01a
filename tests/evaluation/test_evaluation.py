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


def csv_lines(folder):
    with open(folder / "predictions.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


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
        assert (metrics["n"], metrics["chance"]) == (len(kept), 1 / len(FOUR.words))
        assert metrics["n"] + metrics["dropped"] + metrics["errors"] == len(rows)
    truths, predicted, _ = zip(*everything, strict=True)
    assert results["pooled"]["UA"] == pytest.approx(balanced_accuracy_score(truths, predicted))
    assert set(results["languages"]) == {"el", "ru"}
    greek = [(truth, prediction) for truth, prediction, language in everything if language == "el"]
    assert results["languages"]["el"]["UA"] == pytest.approx(balanced_accuracy_score(*zip(*greek, strict=True)))
    first, second = results["corpora"].values()
    assert (first["dropped"], first["dropped_emotions"]) == (2, {"calm": 1, "disgust": 1})
    assert (second["dropped"], second["errors"], second["error_clips"]) == (2, 0, [])
    (error,) = first["error_clips"]
    assert first["errors"] == 1 and error["id"] == "broken" and error["file"] in error["error"]


def test_evaluate_corpora_writes_results_and_predictions(evaluated, corpora):
    results, output = evaluated
    pictures = {"confusion_folder_Ελλάδα_one.png", "confusion_emodb.png"}
    assert {path.name for path in output.iterdir()} == pictures | {"results.json", "predictions.csv"}
    assert all(min(Image.open(output / picture).size) > 200 for picture in pictures)
    assert json.loads((output / "results.json").read_text(encoding="utf-8")) == results
    assert (results["labels"], results["model"], results["prompt"]) == (list(FOUR.words), "tiny", "v1")
    assert results["merges"] == {"excited": "happy"}
    assert {"torch", "transformers", "python", "mser-llm"} <= set(results["versions"])
    lines = csv_lines(output)
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
            assert line["error"] and line["prediction"] == line["p_sad"] == ""
        else:
            probabilities = {word: float(line[f"p_{word}"]) for word in FOUR.words}
            assert sum(probabilities.values()) == pytest.approx(1, abs=1e-5)
            assert probabilities[line["prediction"]] == max(probabilities.values())
    written = read_predictions(output)
    for name, metrics in results["corpora"].items():
        own = written.of_corpus(name)
        assert metrics["intervals"] == intervals(own)
        assert metrics["clusters"] == len(set(own.speakers))
        assert metrics["calibration"]["ece"] == pytest.approx(ece(own), abs=1e-5)
    assert set(results["pooled"]["groups"]) == {"language", "corpus"}
    languages = results["pooled"]["groups"]["language"]["groups"]
    assert {code: group["n"] for code, group in languages.items()} == {"el": 4, "ru": 6}
    assert {(gap["scope"], gap["by"]) for gap in results["gaps"]} == {("all", "language"), ("corpus", "language")}


def test_evaluate_corpora_compares_prompts(tiny, corpora, tmp_path):
    _, processor = tiny
    one = {"emodb": corpora["emodb"]}
    results = evaluate_corpora(*tiny, one, FOUR, prompts=["v3", "v2"], progress=False)
    assert list(results["prompts"]) == ["v1", "v3", "v2"]
    assert (results["prompt"], processor.prompt_version) == ("v1", "v1")
    for version, metrics in results["prompts"].items():
        alone = evaluate_corpora(tiny[0], processor.with_prompt(version), one, FOUR, progress=False)
        assert metrics["UA"] == metrics["corpora"]["emodb"]["UA"] == alone["corpora"]["emodb"]["UA"]
        assert alone.keys().isdisjoint(("prompts", "pooled", "languages")), "one prompt, corpus and language"
    values = [metrics["WA"] for metrics in results["prompts"].values()]
    assert results["prompt_spread"]["WA"] == pytest.approx(max(values) - min(values))
    with pytest.raises(InputError, match="DeferredModel"):
        evaluate_corpora(*tiny, one, FOUR, cache=PredictionCache(tmp_path))
    with pytest.raises(InputError, match="v0"):
        evaluate_corpora(*tiny, one, FOUR, prompts=["v0"])
    processor.prompt_version = None
    with pytest.raises(InputError, match="classifier"):
        evaluate_corpora(*tiny, one, FOUR, prompts=["v2"])


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
    lines = csv_lines(tmp_path / "out")
    assert "text" in lines[0]
    assert {line["prediction"] for line in lines} == {UNPARSED}


def test_evaluate_corpora_rejects_corpora_without_clips(tiny, corpora, tmp_path):
    output, rows = tmp_path / "out", corpora["emodb"]
    with pytest.raises(EvaluationError, match=r"emodb: .*tired, bored.*calm"):
        evaluate_corpora(None, None, {"emodb": rows}, "tired,bored", output_dir=output)
    with pytest.raises(EvaluationError, match=r"mine: .*\(no emotion\)"):
        evaluate_corpora(None, None, {"mine": [r | {"emotion": None} for r in rows]}, "four", output_dir=output)
    with pytest.raises(EvaluationError):
        evaluate_corpora(*tiny, {}, "four", output_dir=output)
    assert not output.exists()
    gone = [r | {"audio": {"bytes": None, "path": "/nowhere.wav"}} for r in rows]
    with pytest.raises(EvaluationError, match=r"emodb: .* 4 clips .*/nowhere\.wav"):
        evaluate_corpora(*tiny, {"emodb": gone}, "four", output_dir=output, progress=False)
    assert list(output.iterdir()) == []
