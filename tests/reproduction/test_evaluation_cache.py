# SPDX-License-Identifier: Apache-2.0
"""Models are found before any speech is read, and evaluated once."""

import shutil
from pathlib import Path

import pytest
from tone_corpus import write_tones

from mser_llm.data.folder_reader import read_folder
from mser_llm.io.errors import InputError
from mser_llm.reproduction.evaluation_cache import EvaluationSet, evaluate_once, model_folders
from processing_mser import label_set
from run_mser import main


@pytest.mark.parametrize("what", ["table1b", "figure4", "lowresource-table2", "lowresource-figure3"])
def test_missing_model_is_reported_before_speech_is_read(
    what: str, tiny_model_dir: Path, tmp_path: Path, monkeypatch, capsys
):
    """`runs/nowhere` could be an id on the Hub, whose weights are not local."""
    monkeypatch.chdir(tmp_path)
    words = ["reproduce", what, "--models", str(tiny_model_dir), "runs/nowhere", "--test", "ravdess=/nowhere/ravdess"]
    assert main([*words, "--output_dir", str(tmp_path / "out")]) == 2
    (error,) = capsys.readouterr().err.strip().splitlines()
    assert error.startswith("run-mser: error: runs/nowhere: ")
    assert not (tmp_path / "out").exists()


def test_model_folders_rejects_folder_without_weights(tiny_model_dir: Path, tmp_path: Path):
    shutil.copytree(tiny_model_dir, tmp_path / "model")
    assert model_folders([str(tmp_path / "model")]) == [tmp_path / "model"]
    (tmp_path / "model" / "model.safetensors").unlink()
    with pytest.raises(InputError) as raised:
        model_folders([str(tmp_path / "model")])
    assert raised.value.source == str(tmp_path / "model") and "model.safetensors" in raised.value.problem


def test_identity_depends_on_labels_clips_and_metadata(tmp_path: Path):
    """Predictions of other clips or labels are not reused, nor intervals over other speakers."""
    rows = read_folder(write_tones(tmp_path / "speech", {"s0": "ur"}, takes=1)).rows[:2]
    changes = ({"gender": None}, {"gender": "female"}, {"speaker": "folder-s9"}, {"language": "hi"})
    asked = [(rows, "four"), (rows[:1], "four"), (rows, "seven"), (rows[::-1], "four")]
    asked += [([{**row, **changed} for row in rows], "four") for changed in changes]

    def identities() -> list[str]:
        return [EvaluationSet({"folder": tested}, label_set(words)).identity for tested, words in asked]

    found = identities()
    assert len(set(found)) == len(found) - 1 and found[0] in found[4:], "one gender is the rows' own"
    first, second = (Path(row["audio"]["path"]) for row in rows)
    second.write_bytes(first.read_bytes())
    assert identities()[0] not in found


def test_damaged_predictions_are_replaced(tiny_model_dir: Path, tmp_path: Path):
    speech = write_tones(tmp_path / "speech", {"s0": "ur", "s1": "ur"}, takes=1)
    tests = EvaluationSet({"folder": read_folder(speech).rows}, label_set("four"))
    predictions, file = evaluate_once(tiny_model_dir, tests, tmp_path / "out"), tmp_path / "out" / "predictions.csv"
    content = file.read_bytes()
    # Half a line, and a clip less, which only its digest shows.
    for kept in (len(content) // 2, content.rindex(b"\n", 0, -1) + 1):
        file.write_bytes(content[:kept])
        assert evaluate_once(tiny_model_dir, tests, tmp_path / "out").ids == predictions.ids
        assert file.read_bytes() == content
