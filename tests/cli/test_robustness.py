# SPDX-License-Identifier: Apache-2.0
"""`run-mser robustness`, from recordings to the figure."""

import csv
import json
import shutil

import pytest
from tone_corpus import write_tones

from mser_llm.evaluation.predictions import read_predictions
from run_mser import main


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tones")
    write_tones(folder / "german", {"anna": "de", "bert": "de"}, takes=2)
    write_tones(folder / "italian", {"carla": "it"}, takes=1)
    return folder


def run(model, corpora, output, *more):
    words = ["--corpora", f"folder={corpora / 'german'}", "--output_dir", str(output), "--device", "cpu"]
    return main(["robustness", "--model", str(model), *words, "--resamples", "200", *more])


def test_robustness_writes_a_figure_and_reuses_predictions(corpora, tiny_model_dir, tmp_path, capsys):
    chosen = ["--conditions", "telephone", "truncation", "code_switch"]
    others = ["--others", f"folder={corpora / 'italian'}"]
    assert run(tiny_model_dir, corpora, tmp_path, *chosen, *others) == 0
    printed = capsys.readouterr().out
    results = json.loads((tmp_path / "robustness.json").read_text(encoding="utf-8"))
    assert list(results["conditions"]) == ["telephone", "truncation", "code_switch"]
    (name,) = results["clean"]
    assert results["clean"][name]["n"] == 16
    assert f"{results['clean'][name]['UA']:.3f}" in printed
    touched = [level["corpora"][name]["touched"] for level in results["conditions"]["truncation"]["levels"]]
    assert touched == [0, 0, 0], "the clips last half a second"
    kept = read_predictions(tmp_path / "predictions" / "code_switch_50.csv")
    assert kept.metrics()["UA"] == results["conditions"]["code_switch"]["levels"][0]["corpora"][name]["UA"]
    with open(tmp_path / "robustness.csv", encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == 6
    before = (tmp_path / "predictions" / "clean.csv").stat().st_mtime_ns
    assert run(tiny_model_dir, corpora, tmp_path, *chosen, *others) == 0
    assert (tmp_path / "predictions" / "clean.csv").stat().st_mtime_ns == before
    assert json.loads((tmp_path / "robustness.json").read_text(encoding="utf-8")) == results


@pytest.mark.slow
def test_robustness_reports_conditions_it_leaves_out(corpora, tiny_model_dir, tmp_path, capsys):
    assert run(tiny_model_dir, corpora, tmp_path, "--conditions", "code_switch") == 2
    assert "in another language" in capsys.readouterr().err
    assert run(tiny_model_dir, corpora, tmp_path, "--sample", "4") == 0
    results = json.loads((tmp_path / "robustness.json").read_text(encoding="utf-8"))
    assert "joined" in results["conditions"] and "code_switch" not in results["conditions"]
    assert "left out: code_switch" in capsys.readouterr().err
    assert [metrics["n"] for metrics in results["clean"].values()] == [4]


def test_robustness_rejects_training_speakers(corpora, trained_on, tmp_path, capsys):
    model, chosen = trained_on("folder-anna"), ["--conditions", "telephone"]
    assert run(model, corpora, tmp_path / "out", *chosen) == 2
    assert "1 speaker(s) are in training and in test: folder-anna" in capsys.readouterr().err
    assert run(model, corpora, tmp_path / "out", *chosen, "--allow_leak") == 0
    assert "of 8 of 16 clips" in capsys.readouterr().out


def test_robustness_reports_halves_from_training(corpora, trained_on, tmp_path, capsys):
    others = ["--conditions", "code_switch", "--others", f"folder={corpora / 'italian'}"]
    assert run(trained_on("folder-carla"), corpora, tmp_path / "out", *others) == 0
    assert "of 4 of 4 clips from --others" in capsys.readouterr().out
    results = json.loads((tmp_path / "out" / "robustness.json").read_text(encoding="utf-8"))
    assert results["lent_leak"]["found"] and not results["leak"]["found"]


def test_robustness_detects_another_seed_audio_or_speaker(corpora, tiny_model_dir, tmp_path, capsys):
    german, first = shutil.copytree(corpora / "german", tmp_path / "german"), ["--conditions", "telephone"]
    assert run(tiny_model_dir, tmp_path, tmp_path / "out", *first) == 0
    assert run(tiny_model_dir, tmp_path, tmp_path / "out", *first, "--seed", "1") == 2
    assert "other settings (seed)" in capsys.readouterr().err
    happy = german / "anna-happy-0.wav"
    before = happy.read_bytes()
    shutil.copyfile(german / "bert-sad-0.wav", happy)
    assert run(tiny_model_dir, tmp_path, tmp_path / "out", *first, "level") == 2
    assert "other settings (clips, pool)" in capsys.readouterr().err
    assert not (tmp_path / "out" / "predictions" / "level_10.csv").exists()
    happy.write_bytes(before)
    assert run(tiny_model_dir, tmp_path, tmp_path / "out", *first) == 0
    table = (german / "index.csv").read_text(encoding="utf-8")
    (german / "index.csv").write_text(table.replace(",bert,", ",anna,"), encoding="utf-8")
    assert run(tiny_model_dir, tmp_path, tmp_path / "out", *first) == 2
    assert "other settings (clips, pool)" in capsys.readouterr().err
    # Clips used only for babble and halves affect predictions too.
    others = ["--others", f"folder={shutil.copytree(corpora / 'italian', tmp_path / 'italian')}"]
    assert run(tiny_model_dir, tmp_path, tmp_path / "lent", *first, *others) == 0
    shutil.copyfile(german / "bert-sad-0.wav", tmp_path / "italian" / "carla-sad-0.wav")
    assert run(tiny_model_dir, tmp_path, tmp_path / "lent", *first, *others) == 2
    assert "other settings (pool)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--sample", "-3"], "--sample: -3"),
        (["--resamples", "0"], "resamples: 0"),
    ],
)
def test_robustness_rejects_invalid_arguments_before_reading(tmp_path, capsys, more, message):
    assert run(tmp_path / "no model", tmp_path, tmp_path / "out", *more) == 2
    error = capsys.readouterr().err.strip()
    assert message in error and "\n" not in error
    assert not (tmp_path / "out").exists()
