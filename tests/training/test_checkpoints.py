# SPDX-License-Identifier: Apache-2.0
"""Checkpoints are verified before a training resumes."""

from pathlib import Path

import pytest
from accelerate import Accelerator

from mser_llm.training.checkpointing import STAGING
from mser_llm.training.run_training import train


def test_checkpoint_that_is_damaged_is_not_resumed(rows, recipe, tmp_path: Path):
    arguments = recipe("--max_steps", "1", "--num_train_epochs", "1")
    train(rows, *arguments)
    for name in ("train_results.json", "model.safetensors"):
        (tmp_path / "run" / name).unlink()
    (checkpoint,) = (tmp_path / "run").glob("checkpoint-*")
    content = bytearray((checkpoint / "model.safetensors").read_bytes())
    content[-9] ^= 1
    (checkpoint / "model.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=f"{checkpoint.name}/model.safetensors was modified"):
        train(rows, *arguments)


def test_checkpoint_folder_exists_before_other_processes_write(rows, recipe, tmp_path: Path, monkeypatch):
    """What the other processes find when they pass each barrier of a save."""
    run, found, wait = tmp_path / "run", [], Accelerator.wait_for_everyone

    def record(accelerator: Accelerator) -> None:
        partial = run / STAGING
        found.append((partial.is_dir(), (partial / "trainer_state.json").is_file(), bool([*run.glob("checkpoint-*")])))
        wait(accelerator)

    monkeypatch.setattr(Accelerator, "wait_for_everyone", record)
    train(rows, *recipe("--max_steps", "1", "--num_train_epochs", "1"))
    start = found.index((True, False, False))
    created, complete, published = found[start : start + 3]
    assert (created, complete, published) == ((True, False, False), (True, True, False), (False, False, True))
