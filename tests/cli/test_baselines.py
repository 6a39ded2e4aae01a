# SPDX-License-Identifier: Apache-2.0
"""`run-mser baselines`, from recordings to the table."""

import csv
import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.metrics import balanced_accuracy_score
from tone_corpus import write_tones

from modeling_mser import Wav2Vec2ClassifierConfig, WhisperClassifierConfig
from modeling_mser.file_digests_mser import MODEL_DIGESTS, write_digests
from mser_llm.cli.baselines import BaselinesArguments, _encoder
from mser_llm.evaluation.predictions import read_predictions
from run_mser import main


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tones")
    write_tones(folder / "train", {"anna": "de", "bert": "de", "carla": "de"}, takes=3)
    write_tones(folder / "test", {"dario": "it", "elena": "it", "fabio": "it"}, takes=2, seed=5)
    return folder


def run(corpora, folder, *more):
    words = ["--train", f"folder={corpora / 'train'}", "--test", f"folder={corpora / 'test'}"]
    kept = ["--output_dir", str(folder / "out"), "--cache_dir", str(folder / "cache"), "--resamples", "300"]
    return main(["baselines", *words, *kept, *more])


def test_baselines_writes_all_systems_into_one_table(corpora, encoder, tiny_model_dir, tmp_path, capsys):
    pytest.importorskip("opensmile")
    models = ["--encoder", str(encoder), "--model", str(tiny_model_dir), "--device", "cpu"]
    assert run(corpora, tmp_path, *models) == 0
    results = json.loads((tmp_path / "out" / "baselines.json").read_text(encoding="utf-8"))
    (rows,) = results["corpora"].values()
    names = [row["system"] for row in rows]
    assert names[:3] == ["chance", "majority", "eGeMAPS + SVM"]
    assert names[3:5] == ["probe of the chosen layer", "probe of all layers, weighted"]
    assert names[5:] == [f"model {tiny_model_dir.name}"]
    metrics = {row["system"]: row for row in rows}
    assert metrics["chance"]["UA"] == metrics["majority"]["UA"] == 0.25
    assert metrics["eGeMAPS + SVM"]["UA"] > 0.6, "the pitch of a tone is its emotion"
    assert metrics["probe of the chosen layer"]["UA"] > 0.6
    (layers,) = results["layers"].values()
    assert [layer["facts"]["layer"] for layer in layers] == [0, 1, 2]

    for row in rows[1:]:
        name = "_".join(row["system"].replace("+", "").replace(",", "").split())
        kept = read_predictions(tmp_path / "out" / "predictions" / f"{name}.csv")
        assert row["UA"] == pytest.approx(balanced_accuracy_score(kept.truths, kept.predicted))
        low, high = row["intervals"]["UA"]
        assert low <= row["UA"] <= high
        if row["against"]:
            difference = row["UA"] - rows[-1]["UA"]
            assert row["against"]["difference"] == pytest.approx(difference)
            assert row["against"]["p"] <= row["against"]["p_holm"] <= 1
    printed, table = capsys.readouterr().out, (tmp_path / "out" / "baselines.md").read_text(encoding="utf-8")
    assert table in printed
    assert f"| {metrics['eGeMAPS + SVM']['UA']:.3f} [" in table
    with open(tmp_path / "out" / "baselines.csv", encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["system"] for line in lines] == names
    assert np.allclose([float(line["UA"]) for line in lines], [row["UA"] for row in rows])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--systems", "probe"], "--systems probe"),
        (["--systems", "svm"], "svm; choose from majority, egemaps, probe"),
        (["--systems", "majority", "--resamples", "0"], "resamples: 0"),
    ],
)
def test_baselines_rejects_invalid_arguments_before_reading(corpora, tmp_path, capsys, more, message):
    assert run(corpora, tmp_path, *more) == 2
    error = capsys.readouterr().err.strip()
    assert message in error and "\n" not in error


def test_baselines_does_not_probe_other_encoders(corpora, tmp_path, capsys):
    """It is rejected before the other systems are evaluated."""
    model = tmp_path / "wavlm"
    Wav2Vec2ClassifierConfig(audio_backbone="microsoft/wavlm-base").save_pretrained(model)
    assert run(corpora, tmp_path / "out", "--model", str(model)) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith(f"run-mser: error: {model}: ") and "\n" not in error
    whisper = tmp_path / "whisper"
    WhisperClassifierConfig(audio_backbone="openai/whisper-base").save_pretrained(whisper)
    assert _encoder(BaselinesArguments([], [], model=[str(whisper)])) == "openai/whisper-base"


def test_baselines_rejects_test_speakers_and_renamed_test_files_in_training(corpora, tmp_path, capsys):
    """In a user's own copy of a corpus, the speakers have other names."""
    copy = shutil.copytree(corpora / "test", tmp_path / "copy")
    index = (copy / "index.csv").read_text(encoding="utf-8")
    for name in ("dario", "elena", "fabio"):
        index = index.replace(f",{name},", f",{name}2,")
    (copy / "index.csv").write_text(index, encoding="utf-8")
    words = ["--test", f"folder={corpora / 'test'}", "--systems", "majority", "--output_dir", str(tmp_path)]
    for trained, found in ((corpora / "test", "in training and in test"), (copy, "24 test recording(s)")):
        assert main(["baselines", "--train", f"folder={trained}", *words]) == 2
        assert found in capsys.readouterr().err
        assert main(["baselines", "--train", f"folder={trained}", *words, "--allow_leak"]) == 0
        leak = json.loads((tmp_path / "baselines.json").read_text(encoding="utf-8"))["leak"]["baselines"]
        assert leak["found"] and leak["clips"] == 24
        assert "of 24 of 24 clips" in capsys.readouterr().out


def test_baselines_rejects_training_speakers_of_the_model(corpora, trained_on, tmp_path, capsys):
    kept = ["--systems", "majority", "--model", str(trained_on("folder-dario")), "--device", "cpu"]
    assert run(corpora, tmp_path, *kept) == 2
    assert "1 speaker(s) are in training and in test: folder-dario" in capsys.readouterr().err
    assert run(corpora, tmp_path, *kept, "--allow_leak") == 0
    leak = json.loads((tmp_path / "out" / "baselines.json").read_text(encoding="utf-8"))["leak"]
    assert not leak["baselines"]["found"] and leak["model model"]["clips"] == 8


def test_baselines_gives_models_distinct_files(corpora, tiny_model_dir, tmp_path):
    names = ("a b", "a_b", "a-b")
    models = [tmp_path / str(number) / name for number, name in enumerate(names)]
    for number, model in enumerate(models):
        shutil.copytree(tiny_model_dir, model)
        weights = load_file(model / "model.safetensors")
        generator = torch.Generator().manual_seed(number)
        for weight in weights.values():
            weight += 0.5 * torch.randn(weight.shape, generator=generator)
        save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
        write_digests(model, MODEL_DIGESTS)
    kept = ["--systems", "majority", "--model", *map(str, models), "--device", "cpu"]
    assert run(corpora, tmp_path, *kept) == 0
    files = ["model_a_b", "model_a_b_2", "model_a-b"]
    results = [json.loads((tmp_path / "out" / "models" / name / "results.json").read_text()) for name in files]
    assert [of["model"] for of in results] == list(map(str, models))
    predictions = [read_predictions(tmp_path / "out" / "predictions" / f"{name}.csv") for name in files]
    assert not np.array_equal(predictions[0].scores, predictions[1].scores)
    for name, own in zip(files, predictions, strict=True):
        assert np.array_equal(read_predictions(tmp_path / "out" / "models" / name).scores, own.scores)
