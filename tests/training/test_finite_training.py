# SPDX-License-Identifier: Apache-2.0
"""A diverged training is an error and leaves finite checkpoints; invalid numbers are rejected before it."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mser_llm.training.finite_training import TrainingDivergedError
from mser_llm.training.run_training import train
from mser_llm.training.trainer import MSERTrainer
from run_mser import main


RECIPE = Path(__file__).parents[1] / "recipe.yaml"


def finite_checkpoints(folder: Path) -> list[str]:
    found = sorted(folder.glob("checkpoint-*/model.safetensors"))
    assert all(tensor.isfinite().all() for file in found for tensor in load_file(file).values())
    return [file.parent.name for file in found]


def test_train_exits_2_when_training_diverges(tones: Path, tmp_path: Path, capsys):
    words = ["train", str(RECIPE), "--corpora", f"folder={tones}", "--output_dir", str(tmp_path / "run")]
    words += ["--cache_dir", str(tmp_path / "cache"), "--learning_rate", "1e30", "--lr_scheduler_type", "constant"]
    assert main(words) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "at step" in error and "learning_rate 1e+30" in error
    finite_checkpoints(tmp_path / "run")
    assert not (tmp_path / "run" / "model.safetensors").exists()
    assert not (tmp_path / "run" / "train_results.json").exists()


@pytest.mark.parametrize("place", ["loss", "gradient", "weight"])
def test_training_stops_and_keeps_the_last_finite_checkpoint(rows, recipe, tmp_path: Path, monkeypatch, place: str):
    original = MSERTrainer.compute_loss

    def compute_loss(self, model, inputs, *args, **kwargs):
        loss = original(self, model, inputs, *args, **kwargs)
        if self.state.global_step == 11 and place == "loss":
            loss = loss * float("nan")
        elif self.state.global_step == 11 and place == "gradient":
            self.model.projection.weight.register_hook(lambda gradient: gradient * float("inf"))
        elif self.state.global_step == 11:  # the last step before the second checkpoint; its loss is still finite
            self.model.projection.bias.register_hook(
                lambda _: self.model.projection.weight.data.fill_(torch.inf)[0] * 0
            )
        return loss

    monkeypatch.setattr(MSERTrainer, "compute_loss", compute_loss)
    with pytest.raises(TrainingDivergedError, match=r"at step 12 of 24.*checkpoint-6"):
        train(rows, *recipe())
    assert finite_checkpoints(tmp_path / "run") == ["checkpoint-6"]


OUT_OF_RANGE = {
    **dict.fromkeys(("weight_decay", "max_grad_norm", "num_train_epochs", "ce_weight", "seed", "data_seed"), "-1"),
    **dict.fromkeys(("max_steps", "early_stopping_patience", "views", "num_query_tokens", "learning_rate"), "0"),
    **dict.fromkeys(("contrast_weight", "cache_gb"), "nan"),
    "adam_beta2": "1",
    "adam_epsilon": "inf",
    "split_seed": str(2**32),
    "lora_dropout": "1.5",
    "average_from": "1.5",
}


@pytest.mark.parametrize(("name", "value"), OUT_OF_RANGE.items())
def test_train_rejects_numbers_out_of_range(recipe, capsys, name: str, value: str):
    with pytest.raises(SystemExit) as left:
        recipe(f"--{name}", value)
    assert left.value.code == 2
    error = capsys.readouterr().err
    assert name in error and "pass" in error and "\n" not in error.strip()


def test_commands_check_the_seed(capsys, tmp_path: Path):
    with pytest.raises(SystemExit):
        main(["demo", "--seed", "-1", "--output_dir", str(tmp_path / "demo")])
    assert "seed" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()


def test_train_with_zero_steps_needs_a_trained_model(rows, recipe, tmp_path: Path, first_stage: Path):
    with pytest.raises(ValueError, match="num_train_epochs"):
        train(rows, *recipe("--num_train_epochs", "0"))
    with pytest.raises(ValueError, match="per_device_train_batch_size"):
        train(rows, *recipe("--per_device_train_batch_size", "64", "--dataloader_drop_last"))
    assert not list(tmp_path.glob("run/*.safetensors"))
    results = train(rows, *recipe("--num_train_epochs", "0", "--init_from", str(first_stage)))
    assert results["validation"]["eval_loss"] > 0
    before, after = (load_file(folder / "model.safetensors") for folder in (first_stage, tmp_path / "run"))
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_resumed_run_reports_the_loss_of_all_steps(rows, recipe, tmp_path: Path, interrupt):
    def loss_of(folder: Path) -> float:
        history = json.loads((folder / "train_results.json").read_text())["log_history"]
        (found,) = [entry["train_loss"] for entry in history if "train_loss" in entry]
        return found

    flags = ["--logging_steps", "1", "--num_train_epochs", "2"]
    results = train(rows, *recipe(*flags, "--output_dir", str(tmp_path / "whole")))
    steps = [entry["loss"] for entry in results["log_history"] if "loss" in entry]
    assert len(steps) == 12
    assert loss_of(tmp_path / "whole") == pytest.approx(sum(steps) / 12, rel=1e-4)
    interrupt(8, rows, *recipe(*flags))
    train(rows, *recipe(*flags))
    assert loss_of(tmp_path / "run") == pytest.approx(loss_of(tmp_path / "whole"), rel=1e-6)
