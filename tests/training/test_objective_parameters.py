# SPDX-License-Identifier: Apache-2.0
"""Parameters of objectives are trained with the model, saved separately, and restored."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from modeling_mser import MSERForEmotionGeneration
from mser_llm.cli.parser import MSERArgumentParser
from mser_llm.cli.train import ARGUMENTS
from mser_llm.io.errors import InputError
from mser_llm.training.objectives import ObjectiveError
from mser_llm.training.objectives.callback import FILE, ObjectiveCallback
from mser_llm.training.run_training import train
from mser_llm.training.trainer import MSERTrainer


SECTION = {
    "margin_contrast": {"margin": 0.1},
    "supervised_contrast": {"weight": 0.5, "cross_language_weight": 2.0, "projection_size": 6},
    "speaker_adversarial": {"weight": 0.2, "hidden_size": 8},
}


@pytest.fixture
def combined(tmp_path: Path):
    """Return a parser of the tests' recipe with a section `objectives` and further flags."""

    def parse(*flags: str, section: dict | None = SECTION) -> tuple:
        recipe = tmp_path / "combined.yaml"
        text = (Path(__file__).parents[1] / "recipe.yaml").read_text()
        recipe.write_text(text + yaml.safe_dump({"objectives": section}))
        words = [str(recipe), "--output_dir", str(tmp_path / "run"), "--cache_dir", str(tmp_path / "cache"), *flags]
        _, *arguments = MSERArgumentParser(ARGUMENTS).parse_args_into_dataclasses(words)
        return tuple(arguments)

    return parse


def test_objectives_are_logged_trained_and_saved(rows, combined, tmp_path: Path, monkeypatch):
    trainers: list[MSERTrainer] = []
    original = MSERTrainer.create_optimizer
    monkeypatch.setattr(MSERTrainer, "create_optimizer", lambda self, *_: trainers.append(self) or original(self))
    flags = ["--num_train_epochs", "1", "--logging_steps", "1", "--objective_learning_rate", "0.02"]
    results = train(rows, *combined(*flags))
    steps = [entry for entry in results["log_history"] if "loss" in entry]
    names = {"loss_ce", "loss_margin_contrast", "loss_supervised_contrast", "loss_speaker_adversarial"}
    for entry in steps:
        assert {name for name in entry if name.startswith("loss_")} == names
        weighted = entry["loss_ce"] + entry["loss_margin_contrast"]
        weighted += 0.5 * entry["loss_supervised_contrast"] + 0.2 * entry["loss_speaker_adversarial"]
        assert entry["loss"] == pytest.approx(weighted, abs=1e-3)
    (trainer,) = trainers
    group = trainer.optimizer.param_groups[-1]
    assert group["initial_lr"] == 0.02 and trainer.optimizer.param_groups[0]["initial_lr"] == 0.01
    assert [id(one) for one in group["params"]] == [id(one) for one in trainer.objective_callback.parameters]
    assert all(parameter.grad is None for parameter in group["params"])

    (checkpoint,) = (tmp_path / "run").glob("checkpoint-*")
    saved = load_file(checkpoint / FILE)
    assert {name.split(".")[0] for name in saved} == {"supervised_contrast", "speaker_adversarial"}
    for name, value in trainer.objective_callback.objectives.state_dict().items():
        assert torch.equal(saved[name], value)
    own = set(load_file(tmp_path / "run" / "model.safetensors"))
    assert not [name for name in own if "projection.0" in name or "classifier" in name]
    MSERForEmotionGeneration.from_pretrained(tmp_path / "run")
    assert not (tmp_path / "run" / FILE).exists()

    assert json.loads((tmp_path / "run" / "run.json").read_text())["objectives"] == SECTION
    with pytest.raises(InputError) as raised:
        train(rows, *combined(*flags, section={"supervised_contrast": {}}))
    assert raised.value.source == str(tmp_path / "run") and "(objectives " in raised.value.problem


@pytest.mark.parametrize(("max_grad_norm", "clipped"), [("1e9", False), ("0.01", True)])
def test_objective_gradients_are_cleared_and_clipped_separately(
    rows, combined, monkeypatch, max_grad_norm: str, clipped: bool
):
    norms = []
    clear = ObjectiveCallback.on_optimizer_step

    def on_optimizer_step(self: ObjectiveCallback, *args, **kwargs) -> None:
        norms.append(torch.stack([parameter.grad.norm() for parameter in self.parameters]).norm().item())
        clear(self, *args, **kwargs)

    monkeypatch.setattr(ObjectiveCallback, "on_optimizer_step", on_optimizer_step)
    # Weights that hardly move have similar gradients at every step, unless gradients accumulate.
    flags = ["--learning_rate", "1e-9", "--num_train_epochs", "2", "--max_grad_norm", max_grad_norm]
    train(rows, *combined(*flags))
    assert len(norms) == 12
    if clipped:
        assert norms == pytest.approx([0.01] * 12, rel=1e-3)
    else:
        assert sum(norms[6:]) < 1.5 * sum(norms[:6])


def test_deepspeed_rejects_objectives_with_parameters(rows, combined, monkeypatch):
    original = MSERTrainer.create_optimizer

    def under_deepspeed(self: MSERTrainer, *args, **kwargs):
        self.is_deepspeed_enabled = True  # as under its launcher
        return original(self, *args, **kwargs)

    monkeypatch.setattr(MSERTrainer, "create_optimizer", under_deepspeed)
    with pytest.raises(ObjectiveError, match="DeepSpeed"):
        train(rows, *combined())


def test_objective_reports_missing_speakers_before_encoding(rows, combined, tmp_path: Path):
    rows = [{**row, "speaker": None} for row in rows]
    with pytest.raises(ObjectiveError) as raised:
        train(rows, *combined())
    assert raised.value.source == "objectives: speaker_adversarial"
    assert not list((tmp_path / "cache").rglob("*.store"))


def section_of(arguments: tuple) -> dict:
    return arguments[-1].objective_section


def test_objective_section_merges_contrast_flags(combined):
    plain = section_of(combined("--contrast_margin", "0.3", section=None))
    weights = {"weight": 1.0, "positive_weight": 1.0, "negative_weight": 1.0}
    assert plain == {"margin_contrast": weights | {"margin": 0.3, "reduction": "mean"}}
    assert section_of(combined())["margin_contrast"]["margin"] == 0.1
    assert section_of(combined("--contrast_reduction", "sum"))["margin_contrast"]["reduction"] == "sum"
    assert section_of(combined("--contrast_weight", "0"))["margin_contrast"]["weight"] == 0
    assert set(section_of(combined("--without", "speaker_adversarial", "margin_contrast"))) == {"supervised_contrast"}
    assert section_of(combined(section={})) == {}
    assert section_of(combined("--contrast_weight", "0", section={"supervised_contrast": None})) == {
        "supervised_contrast": None
    }


@pytest.mark.parametrize(
    ("flags", "section", "value"),
    [
        ((), {"supervized_contrast": {}}, "supervized_contrast"),
        (("--contrast_margin", "0.3"), SECTION, "contrast_margin"),
        (("--contrast_margin", "0.3"), {"supervised_contrast": {}}, "contrast_margin"),
        (("--without", "speaker_contrast"), SECTION, "speaker_contrast"),
    ],
)
def test_objective_section_rejects_contradictions(combined, capsys, flags, section, value):
    with pytest.raises(SystemExit):
        combined(*flags, section=section)
    assert value in capsys.readouterr().err
