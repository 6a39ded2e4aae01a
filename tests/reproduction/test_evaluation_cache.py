# SPDX-License-Identifier: Apache-2.0
"""Models that are to be measured are found before any speech is read, and known again when they were."""

import hashlib
import shutil
import tracemalloc
from pathlib import Path

import pytest
from tone_corpus import write_tones

from mser_llm.data.folder_reader import read_folder
from mser_llm.evaluation.predictions import Predictions, write_predictions
from mser_llm.io.atomic_files import write_json
from mser_llm.reproduction.evaluation_cache import EvaluationSet, evaluate_once, model_folders
from processing_mser import label_set
from run_mser import main


@pytest.mark.parametrize("what", ["table1b", "figure4", "lowresource-table2", "lowresource-figure3"])
@pytest.mark.parametrize("missing", ["/nowhere/model", "runs/nowhere"])
def test_a_missing_model_is_told_in_one_line_before_anything_is_read(
    what: str, missing: str, tiny_model_dir: Path, tmp_path: Path, monkeypatch, capsys
):
    """`runs/nowhere` could be an id on the Hub, where nothing can be measured."""
    monkeypatch.chdir(tmp_path)
    words = ["reproduce", what, "--models", str(tiny_model_dir), missing, "--test", "ravdess=/nowhere/ravdess"]
    assert main([*words, "--output_dir", str(tmp_path / "out")]) == 2
    (error,) = capsys.readouterr().err.strip().splitlines()
    assert error.startswith(f"run-mser: error: {missing}: no such folder; ")
    assert not (tmp_path / "out").exists()


def test_a_folder_without_weights_is_told(tiny_model_dir: Path, tmp_path: Path):
    shutil.copytree(tiny_model_dir, tmp_path / "model")
    assert model_folders([str(tmp_path / "model")]) == [tmp_path / "model"]
    (tmp_path / "model" / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"model: holds no model\.safetensors; copy or train the model again"):
        model_folders([str(tmp_path / "model")])
    with pytest.raises(ValueError, match=r"holds no model \(no config\.json"):
        model_folders([str(tmp_path)])


def test_weights_are_known_again_without_being_held_in_memory(tmp_path: Path):
    """A checkpoint with its backbones in it is as large as the memory of many a machine."""
    size, model = 200_000_000, tmp_path / "model"
    model.mkdir()
    with open(model / "model.safetensors", "wb") as file:
        file.truncate(size)
    tests = EvaluationSet({}, label_set("four"))
    digest = hashlib.sha256()
    for _ in range(200):
        digest.update(bytes(size // 200))
    kept = Predictions(tests.labels.words, ["x"], ["1"], ["sad"], ["happy"])
    answers = write_predictions(tmp_path / "out" / "predictions.csv", kept)
    record = {"weights": digest.hexdigest(), "tested": tests.identity}
    record["predictions"] = hashlib.sha256(answers.read_bytes()).hexdigest()
    write_json(tmp_path / "out" / "measured.json", record)
    tracemalloc.start()
    try:
        assert evaluate_once(model, tests, tmp_path / "out").predicted == ["happy"]
        assert tracemalloc.get_traced_memory()[1] < size / 10
    finally:
        tracemalloc.stop()


def test_a_table_that_says_more_of_the_speakers_than_before_is_heard(tiny_model_dir: Path, tmp_path: Path):
    rows = read_folder(write_tones(tmp_path / "speech", {"s0": "ur", "s1": "ur"}, takes=1)).rows
    tests = [
        EvaluationSet({"folder": [{**row, **told} for row in rows]}, label_set("four"))
        for told in ({"gender": None}, {"gender": "female"}, {"speaker": "folder-s9"}, {"language": "hi"})
    ]
    first, *others = (evaluate_once(tiny_model_dir, test, tmp_path / "out") for test in tests)
    assert set(first.genders) == {None}
    assert [set(others[0].genders), set(others[1].speakers), set(others[2].languages)] == [
        {"female"}, {"folder-s9"}, {"hi"}
    ]  # fmt: skip


@pytest.mark.parametrize("kept", [None, 0, 0.5, 0.9], ids=["gone", "empty", "half a line", "a clip less"])
def test_damaged_predictions_are_made_again(kept: float | None, tiny_model_dir: Path, tmp_path: Path):
    speech = write_tones(tmp_path / "speech", {"s0": "ur", "s1": "ur"}, takes=1)
    tests = EvaluationSet({"folder": read_folder(speech).rows}, label_set("four"))
    whole, file = evaluate_once(tiny_model_dir, tests, tmp_path / "out"), tmp_path / "out" / "predictions.csv"
    content = file.read_bytes()
    file.unlink()
    if kept is not None:
        # At the end of a line nothing else tells that a clip is missing.
        cut = content.rindex(b"\n", 0, -1) + 1 if kept == 0.9 else int(kept * len(content))
        file.write_bytes(content[:cut])
    assert evaluate_once(tiny_model_dir, tests, tmp_path / "out").ids == whole.ids
    assert file.read_bytes() == content
