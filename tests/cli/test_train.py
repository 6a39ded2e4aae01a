# SPDX-License-Identifier: Apache-2.0
"""`run-mser train` and `plan` report what a first call lacks in one line with a fix."""

import pytest

from run_mser import main


@pytest.fixture
def clips(tmp_path, monkeypatch) -> str:
    for name in ("happy/1.wav", "sad/2.wav"):
        path = tmp_path / "clips" / name
        path.parent.mkdir(parents=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return "folder=clips"


def error_of(capsys, *words: str) -> str:
    assert main(list(words)) == 2
    error = capsys.readouterr().err
    assert error.startswith("run-mser: error: ")
    assert error.count("\n") == 1
    return error


def test_second_stage_without_the_first_names_its_recipe(clips, tmp_path, capsys):
    for words in (["train", "tiny/stage2", "--corpora", clips], ["plan", "tiny/stage2"]):
        error = error_of(capsys, *words)
        assert "runs/tiny/stage1" in error
        assert "run-mser train tiny/stage1" in error
    model = tmp_path / "runs" / "tiny" / "stage1"
    model.mkdir(parents=True)
    empty = error_of(capsys, "train", "tiny/stage2", "--corpora", clips)
    assert "run-mser train tiny/stage1" in empty and "config.json" in empty and "config.json" not in error
    (model / "config.json").write_text('{"model_type": "mser"}')
    error = error_of(capsys, "train", "tiny/stage2", "--corpora", clips, "--init_from", "runs/tinny/stage1")
    assert "did you mean runs/tiny/stage1?" in error


def test_unset_variable_is_named_with_the_command_that_sets_it(clips, monkeypatch, capsys):
    monkeypatch.delenv("MSER_BACKBONES", raising=False)
    error = error_of(capsys, "train", "base/joint", "--corpora", clips, "--labels", "happy,sad")
    assert "export MSER_BACKBONES=" in error
    assert "whisper-base-encoder" in error
