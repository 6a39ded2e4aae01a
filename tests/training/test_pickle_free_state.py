# SPDX-License-Identifier: Apache-2.0
"""A training writes no pickle and no token, and restores optimizer, scheduler and generators exactly."""

import copy
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from mser_llm.io.errors import InputError
from mser_llm.training.run_training import train
from mser_llm.training.training_state import load_state, save_state


SECRET = "hf_" + "S3cretOfNobody"


def test_training_saves_no_token_and_no_pickle(rows, recipe, tmp_path: Path):
    train(rows, *recipe("--num_train_epochs", "1", "--hub_token", SECRET))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert (tmp_path / "run" / "checkpoint-6" / "optimizer.safetensors") in files
    for path in files:
        content = path.read_bytes()
        assert SECRET.encode() not in content, path
        assert path.suffix not in (".bin", ".pt", ".pth", ".pkl", ".ckpt"), path
        # A protocol marker of pickle, and the archive of torch.save.
        assert not content.startswith((b"\x80\x02", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")), path


def assert_same(found, expected) -> None:
    assert type(found) is type(expected)
    if isinstance(expected, dict):
        assert_same(list(found.items()), list(expected.items()))
    elif isinstance(expected, (list, tuple)):
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, (torch.Tensor, np.ndarray)):
        assert found.dtype == expected.dtype and found.shape == expected.shape and (found == expected).all()
    else:
        assert found == expected


def test_state_of_optimizer_and_generators_round_trips(tmp_path: Path):
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, betas=(0.8, 0.9))
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
    model(torch.randn(4, 3)).sum().backward()
    optimizer.step()
    state = {
        "optimizer": copy.deepcopy(optimizer.state_dict()),
        "scheduler": scheduler.state_dict(),  # contains an infinity
        "generators": [random.getstate(), np.random.get_state(), torch.get_rng_state()],
        "half": torch.randn(3).bfloat16(),
        "empty": torch.zeros(0, 3),
    }
    save_state(state, tmp_path / "state.safetensors")
    assert_same(load_state(tmp_path / "state.safetensors"), state)


@pytest.mark.parametrize("damage", ["cut", "flipped", "missing"])
def test_state_that_was_changed_is_rejected(tmp_path: Path, damage: str):
    file = tmp_path / "checkpoint-6" / "optimizer.safetensors"
    file.parent.mkdir()
    save_state({"exp_avg": torch.arange(100.0)}, file)
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(content[:-50] if damage == "cut" else content)
    with pytest.raises(InputError) as raised:
        load_state(file)
    assert raised.value.source == str(file)
    assert str(file.parent) in raised.value.fix and "--no_resume" in raised.value.fix


def test_state_that_needs_pickle_is_rejected(tmp_path: Path):
    with pytest.raises(InputError) as raised:
        save_state({"state": {0: object()}}, tmp_path / "state.safetensors")
    assert "builtins.object" in raised.value.problem and "optim" in raised.value.fix
    assert not list(tmp_path.iterdir())


def test_optimizers_with_pickled_state_are_rejected(recipe, capsys):
    with pytest.raises(SystemExit):
        recipe("--optim", "galore_adamw")
    assert "galore_adamw" in capsys.readouterr().err
