# SPDX-License-Identifier: Apache-2.0
"""Averaged weights are the mean over the later steps, are evaluated and saved, and resume."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from modeling_mser import MSERForEmotionGeneration
from mser_llm.training.run_training import train
from mser_llm.training.trainer import MSERTrainer


def test_weight_average_is_the_evaluated_mean_of_the_last_steps(rows, recipe, tmp_path: Path, monkeypatch, interrupt):
    recorded: dict[int, torch.Tensor] = {}
    original = MSERTrainer.compute_loss

    def compute_loss(self: MSERTrainer, model, *args, **kwargs):
        recorded[self.state.global_step] = model.projection.weight.detach().clone()
        return original(self, model, *args, **kwargs)

    monkeypatch.setattr(MSERTrainer, "compute_loss", compute_loss)
    flags = ["--average_from", "0.5", "--num_train_epochs", "2", "--save_total_limit", "9"]
    results = train(rows, *recipe(*flags))
    steps = max(recorded) + 1
    later = [weights for step, weights in recorded.items() if step > steps / 2]
    assert 2 < len(later) < steps
    model = MSERForEmotionGeneration.from_pretrained(tmp_path / "run")
    torch.testing.assert_close(model.projection.weight, torch.stack(later).mean(0), atol=1e-6, rtol=1e-5)
    # A checkpoint contains the weights of its step, so that training can resume.
    moment = load_file(tmp_path / "run" / f"checkpoint-{steps // 2}" / "model.safetensors")["projection.weight"]
    assert torch.equal(moment, recorded[steps // 2])
    # Evaluated at the last step and once after it, with the same mean, which does not stop the training.
    last = [entry["eval_loss"] for entry in results["log_history"] if "eval_loss" in entry]
    assert last[-1] == pytest.approx(results["validation"]["eval_loss"], abs=1e-6)
    assert len({weights.sum().item() for weights in recorded.values()}) == len(recorded)
    # A resumed run continues the mean.
    again = recipe(*flags, "--output_dir", str(tmp_path / "again"))
    interrupt(10, rows, *again)
    train(rows, *again)
    resumed, mean = (load_file(tmp_path / name / "model.safetensors") for name in ("again", "run"))
    assert all(torch.equal(resumed[name], value) for name, value in mean.items())
