# SPDX-License-Identifier: Apache-2.0
"""Checkpoints are verified before a training resumes."""

from pathlib import Path

import pytest

from mser_llm.data.read_corpus import read_corpus
from mser_llm.training.run_training import train


def test_checkpoint_that_is_damaged_is_not_resumed(tones: Path, recipe, tmp_path: Path):
    rows, flags = read_corpus("folder", tones).rows, ["--output_dir", str(tmp_path / "run"), "--num_train_epochs", "1"]
    train(rows, *recipe(*flags))
    for name in ("train_results.json", "model.safetensors"):
        (tmp_path / "run" / name).unlink()
    (checkpoint,) = (tmp_path / "run").glob("checkpoint-*")
    content = bytearray((checkpoint / "model.safetensors").read_bytes())
    content[-9] ^= 1
    (checkpoint / "model.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=f"{checkpoint.name}/model.safetensors was modified"):
        train(rows, *recipe(*flags))
