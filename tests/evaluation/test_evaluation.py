# SPDX-License-Identifier: Apache-2.0
"""Evaluation over corpora: what is written, what it says, and what is told when nothing can be measured."""

import csv
import json

import numpy as np
import pytest
import soundfile
from PIL import Image
from sklearn.metrics import balanced_accuracy_score, confusion_matrix

from mser_llm.evaluation.evaluation import EvaluationError, confusion_files, evaluate_corpora
from mser_llm.evaluation.predictions import read_predictions
from mser_llm.evaluation.statistics.bootstrap import intervals
from mser_llm.evaluation.statistics.calibration import ece
from mser_llm.inference.prediction_cache import PredictionCache
from mser_llm.inference.recognition import recognize
from mser_llm.inference.scoring_options import ScoringOptions
from processing_mser import SAMPLING_RATE, UNPARSED, label_set


FOUR = label_set("four")


def row(path, emotion, **fields) -> dict:
    blank = {"id": path.stem, "audio": {"bytes": None, "path": str(path)}, "emotion": emotion, "language": None}
    return blank | {"speaker": None, **fields}


@pytest.fixture
def corpora(tmp_path) -> dict[str, list[dict]]:
    """Two corpora in three languages, with an emotion outside the set, a merged one, and a broken file."""
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


def test_results_are_written_as_they_are_returned(evaluated):
    results, output = evaluated
    assert json.loads((output / "results.json").read_text(encoding="utf-8")) == results
    promised = {"WA", "UA", "WF1", "macro_F1", "precision", "unparsed", "n", "dropped", "supported_labels", "recall"}
    for figures in results["corpora"].values():
        assert promised | {"confusion"} <= set(figures)
    assert results["labels"] == list(FOUR.words)
    assert results["model"] == "tiny"
    assert results["prompt"] == "v1"
    assert {"torch", "transformers", "python", "mser-llm"} <= set(results["versions"])


def test_figures_are_those_of_the_answers(evaluated, tiny, corpora):
    results, _ = evaluated
    everything = []
    for name, rows in corpora.items():
        kept = [r for r in rows if r["emotion"] in (*FOUR.words, "excited") and "broken" not in r["id"]]
        truths = ["happy" if r["emotion"] == "excited" else r["emotion"] for r in kept]
        answers = [answer.label for answer in recognize(*tiny, [r["audio"] for r in kept], FOUR.words)]
        everything += zip(truths, answers, [r["language"] for r in kept], strict=True)
        figures = results["corpora"][name]
        assert figures["UA"] == pytest.approx(balanced_accuracy_score(truths, answers))
        assert figures["confusion"] == confusion_matrix(truths, answers, labels=FOUR.words).tolist()
        assert figures["n"] == len(kept)
        assert figures["chance"] == 1 / len(FOUR.words)
    truths, answers, _ = zip(*everything, strict=True)
    assert results["pooled"]["UA"] == pytest.approx(balanced_accuracy_score(truths, answers))
    assert set(results["languages"]) == {"el", "ru"}
    greek = [(truth, answer) for truth, answer, language in everything if language == "el"]
    assert results["languages"]["el"]["UA"] == pytest.approx(balanced_accuracy_score(*zip(*greek, strict=True)))


def test_every_row_is_accounted_for(evaluated, corpora):
    results, _ = evaluated
    first, second = results["corpora"].values()
    assert (first["dropped"], first["dropped_emotions"]) == (2, {"calm": 1, "disgust": 1})
    assert (second["dropped"], second["errors"], second["error_clips"]) == (2, 0, [])
    assert first["errors"] == 1
    (error,) = first["error_clips"]
    assert error["id"] == "broken"
    assert error["file"] in error["error"]
    for figures, rows in zip((first, second), corpora.values(), strict=True):
        assert figures["n"] + figures["dropped"] + figures["errors"] == len(rows)


def test_predictions_hold_every_clip_that_was_run(evaluated, corpora):
    results, output = evaluated
    with open(output / "predictions.csv", encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0]) == [
        *("corpus", "id", "file", "speaker", "gender", "language", "emotion", "prediction"),
        *(f"p_{word}" for word in FOUR.words),
        "error",
    ]
    assert len(lines) == sum(figures["n"] + figures["errors"] for figures in results["corpora"].values())
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


def test_intervals_are_those_of_the_predictions_that_are_written(evaluated):
    results, output = evaluated
    written = read_predictions(output)
    for name, figures in results["corpora"].items():
        own = written.subset([corpus == name for corpus in written.corpora])
        assert figures["intervals"] == {metric: list(ends) for metric, ends in intervals(own).items()}
        assert figures["clusters"] == len(set(own.speakers))
        assert figures["calibration"]["ece"] == pytest.approx(ece(own), abs=1e-5)
    assert set(results["pooled"]["groups"]) == {"language", "corpus"}
    languages = results["pooled"]["groups"]["language"]["groups"]
    assert {code: group["n"] for code, group in languages.items()} == {"el": 4, "ru": 6}
    assert {(gap["scope"], gap["by"]) for gap in results["gaps"]} == {("all", "language"), ("corpus", "language")}


def test_other_wordings_of_the_prompt_are_measured_beside_it(tiny, corpora):
    _, processor = tiny
    one = {"emodb": corpora["emodb"]}
    results = evaluate_corpora(*tiny, one, FOUR, prompts=["v3", "v2"], progress=False)
    assert list(results["prompts"]) == ["v1", "v3", "v2"]
    assert (results["prompt"], processor.prompt_version) == ("v1", "v1")
    for version, figures in results["prompts"].items():
        alone = evaluate_corpora(tiny[0], processor.with_prompt(version), one, FOUR, progress=False)["corpora"][
            "emodb"
        ]
        assert figures["UA"] == figures["corpora"]["emodb"]["UA"] == alone["UA"]
        assert "prompts" not in alone
    values = [figures["WA"] for figures in results["prompts"].values()]
    assert results["prompt_spread"]["WA"] == pytest.approx(max(values) - min(values))
    with pytest.raises(ValueError, match="prompt 'v0' is not known; choose from v1"):
        evaluate_corpora(*tiny, one, FOUR, prompts=["v0"])
    processor.prompt_version = None
    with pytest.raises(ValueError, match="is a classifier, which is asked nothing"):
        evaluate_corpora(*tiny, one, FOUR, prompts=["v2"])


def test_a_cache_needs_a_model_that_knows_its_files(tiny, corpora, tmp_path):
    with pytest.raises(ValueError, match="DeferredModel"):
        evaluate_corpora(*tiny, {"emodb": corpora["emodb"]}, FOUR, cache=PredictionCache(tmp_path))


def test_a_picture_for_each_corpus_and_nothing_half_written(evaluated):
    _, output = evaluated
    pictures = {"confusion_folder_Ελλάδα_one.png", "confusion_emodb.png"}
    assert {path.name for path in output.iterdir()} == pictures | {"results.json", "predictions.csv"}
    for picture in pictures:
        assert min(Image.open(output / picture).size) > 200


def test_names_that_collide_on_disk_keep_their_pictures():
    assert list(confusion_files(["a b", "a/b", "a_b"]).values()) == [
        "confusion_a_b.png",
        "confusion_a_b_2.png",
        "confusion_a_b_3.png",
    ]


def test_free_generation_counts_what_cannot_be_read(tiny, corpora, tmp_path):
    """The model's weights are random, so nothing it writes is a word."""
    results = evaluate_corpora(
        *tiny, {"emodb": corpora["emodb"]}, "four", ScoringOptions(decode="generate"), output_dir=tmp_path / "out"
    )
    figures = results["corpora"]["emodb"]
    assert figures["unparsed"] == 1.0
    assert figures["UA"] == figures["WA"] == figures["WF1"] == 0.0
    assert sum(figures["confusion_unparsed"]) == figures["n"]
    with open(tmp_path / "out" / "predictions.csv", encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert "text" in lines[0]
    assert {line["prediction"] for line in lines} == {UNPARSED}


def test_nothing_within_the_labels_is_told_before_anything_runs(corpora, tmp_path):
    with pytest.raises(EvaluationError, match="emodb: no clip has an emotion of the label set tired, bored; its emot"):
        evaluate_corpora(None, None, {"emodb": corpora["emodb"]}, "tired,bored", output_dir=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    unlabelled = {"mine": [{**row, "emotion": None} for row in corpora["emodb"]]}
    with pytest.raises(EvaluationError, match=r"mine: .*; its emotions are \(no emotion\); choose"):
        evaluate_corpora(None, None, unlabelled, "four")


def test_a_corpus_without_one_readable_clip_is_an_error_and_leaves_no_results(tiny, corpora, tmp_path):
    rows = [r | {"audio": {"bytes": None, "path": "/nowhere.wav"}} for r in corpora["emodb"]]
    with pytest.raises(EvaluationError, match=r"emodb: none of its 4 clips could be read; the first: /nowhere\.wav"):
        evaluate_corpora(*tiny, {"emodb": rows}, "four", output_dir=tmp_path / "out", progress=False)
    assert list((tmp_path / "out").iterdir()) == []


def test_no_corpus_is_an_error(tiny):
    with pytest.raises(EvaluationError, match="No corpus"):
        evaluate_corpora(*tiny, {}, "four")


def test_one_corpus_in_one_language_needs_no_totals(tiny, corpora):
    results = evaluate_corpora(*tiny, {"emodb": corpora["emodb"]}, "four", progress=False)
    assert "pooled" not in results
    assert "languages" not in results
    assert results["merges"] == {"excited": "happy"}
