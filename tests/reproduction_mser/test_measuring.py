# SPDX-License-Identifier: Apache-2.0
"""Models that are to be measured are found before any speech is read."""

import shutil
from pathlib import Path

import pytest

from reproduction_mser.measuring import model_folders
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
    assert error == (
        f"run-mser: error: {missing}: no such folder; give a folder with a trained model, as `run-mser train` writes"
    )
    assert not (tmp_path / "out").exists()


def test_a_folder_without_weights_is_told(tiny_model_dir: Path, tmp_path: Path):
    shutil.copytree(tiny_model_dir, tmp_path / "model")
    assert model_folders([str(tmp_path / "model")]) == [tmp_path / "model"]
    (tmp_path / "model" / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"model: holds no model\.safetensors; copy or train the model again"):
        model_folders([str(tmp_path / "model")])
    with pytest.raises(ValueError, match=r"holds no model \(no config\.json"):
        model_folders([str(tmp_path)])
