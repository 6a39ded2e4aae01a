# SPDX-License-Identifier: Apache-2.0
"""`run-mser evaluate`, from recordings to the report."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from modeling_mser import MSERForEmotionGeneration
from mser_llm.inference.recognition import recognize
from mser_llm.inference.scoring_options import ScoringOptions
from processing_mser import SAMPLING_RATE, label_set
from processing_mser.processing_mser import PROMPTS, MSERProcessor
from run_mser import main


EMOTIONS = ("neutral", "happiness", "sad", "angry", "excited", "calm")


@pytest.fixture
def recordings(tmp_path) -> Path:
    """A user's own data: a folder per emotion."""
    generator = np.random.default_rng(0)
    for emotion in EMOTIONS:
        folder = tmp_path / "my recordings" / emotion
        folder.mkdir(parents=True)
        for number in range(3):
            wave = 0.2 * generator.standard_normal(int(SAMPLING_RATE * generator.uniform(0.3, 0.9)))
            soundfile.write(folder / f"{number}.wav", wave, SAMPLING_RATE)
    return tmp_path / "my recordings"


def evaluate(model, recordings, output, *more) -> int:
    words = ["evaluate", "--model", str(model), "--corpora", f"folder={recordings}", "--output_dir", str(output)]
    return main([*words, "--device", "cpu", "--cache_dir", str(recordings.parent / "cache"), *more])


def test_evaluate_writes_metrics_and_a_report(recordings, tiny_model_dir, tmp_path, capsys):
    output = tmp_path / "evaluation"

    assert evaluate(tiny_model_dir, recordings, output, "--batch_size", "4") == 0

    results = json.loads((output / "results.json").read_text(encoding="utf-8"))
    metrics = results["corpora"]["folder"]
    assert results["labels"] == ["neutral", "happy", "sad", "angry"]
    # Happiness and excited are happy in the four classes; calm is not in them.
    assert metrics["support"] == {"neutral": 3, "happy": 6, "sad": 3, "angry": 3}
    assert (metrics["n"], metrics["dropped"], metrics["errors"]) == (15, 3, 0)
    assert results["model"] == str(tiny_model_dir)
    written = {path.name for path in output.iterdir()}
    assert written == {"results.json", "predictions.csv", "confusion_folder.png", "report.html"}
    assert f"{metrics['UA']:.3f}" in (output / "report.html").read_text(encoding="utf-8")
    assert f"{metrics['UA']:.3f}" in capsys.readouterr().out


def test_evaluate_writes_the_predictions_of_the_model(recordings, tiny_model_dir, tmp_path):
    evaluate(tiny_model_dir, recordings, tmp_path / "out", "--labels", "happy,sad,angry", "--length_normalize")
    with open(tmp_path / "out" / "predictions.csv", encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    model = MSERForEmotionGeneration.from_pretrained(tiny_model_dir)
    processor = MSERProcessor.from_pretrained(tiny_model_dir)
    words = label_set("happy,sad,angry").words
    expected = recognize(
        model, processor, [line["file"] for line in lines], words, ScoringOptions(length_normalize=True)
    )
    assert len(lines) == 9
    for line, prediction in zip(lines, expected, strict=True):
        assert line["prediction"] == prediction.label
        assert [float(line[f"p_{word}"]) for word in words] == pytest.approx(
            list(prediction.scores.values()), abs=1e-5
        )


@pytest.mark.parametrize(("key", "values"), [("prompt", ("v1", "v2")), ("pad_to", ("longest", "30s"))])
def test_evaluate_uses_and_records_prompt_and_padding(recordings, tiny_model_dir, tmp_path, key, values):
    evaluate(tiny_model_dir, recordings, tmp_path / "default")
    evaluate(tiny_model_dir, recordings, tmp_path / "given", f"--{key}", values[1])
    outputs = [tmp_path / name for name in ("default", "given")]
    results = [json.loads((output / "results.json").read_text()) for output in outputs]
    assert tuple(result[key] for result in results) == values
    assert results[1]["prompt_text"] == PROMPTS[results[1]["prompt"]]
    assert len({(output / "predictions.csv").read_text() for output in outputs}) == 2


def test_evaluate_compares_prompts(recordings, tiny_model_dir, tmp_path, capsys):
    assert evaluate(tiny_model_dir, recordings, tmp_path / "out", "--prompts", "all") == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert set(results["prompts"]) == set(PROMPTS)
    assert f"prompt v3: UA {results['prompts']['v3']['UA']:.3f}" in capsys.readouterr().out


def test_evaluate_reuses_cached_predictions(recordings, tiny_model_dir, tmp_path, capsys):
    for name, more in (("first", []), ("second", []), ("anew", ["--no_cache"]), ("other", ["--prompt", "v2"])):
        evaluate(tiny_model_dir, recordings, tmp_path / name, *more)
        reused = "15 of 15 predictions" in capsys.readouterr().out
        assert reused == (name == "second")
    first, second = (tmp_path / name / "results.json" for name in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()


def test_evaluate_counts_unreadable_and_narrow_band_clips(recordings, tiny_model_dir, tmp_path, capsys):
    telephone = np.random.default_rng(1).uniform(-0.2, 0.2, 4000)
    soundfile.write(recordings / "sad" / "telephone.wav", telephone, 8000)
    assert evaluate(tiny_model_dir, recordings, tmp_path / "out") == 0
    assert "1 of 16 clips" in capsys.readouterr().err
    (recordings / "sad" / "broken.wav").write_bytes(b"")
    assert evaluate(tiny_model_dir, recordings, tmp_path / "out") == 1
    metrics = json.loads((tmp_path / "out" / "results.json").read_text())["corpora"]["folder"]
    assert (metrics["n"], metrics["errors"], metrics["narrow_band"]) == (16, 1, 1)
    assert "broken.wav" in metrics["error_clips"][0]["error"]
    assert "1 clips are unreadable" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--labels", "tired,bored"], "tired, bored"),
        (["--prompt", "v0"], "v0"),
        (["--corpora", "folder=/nowhere"], "/nowhere"),
        (["--corpora", "atlantis=/tmp"], "atlantis"),
        (["--decode", "guess"], "decode"),
    ],
)
def test_evaluate_errors_are_one_line_and_status_2(arguments, message, recordings, tiny_model_dir, tmp_path, capsys):
    try:
        status = evaluate(tiny_model_dir, recordings, tmp_path / "out", *arguments)
    except SystemExit as leaving:
        status = leaving.code
    assert status == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert len(errors.strip().splitlines()) == 1
