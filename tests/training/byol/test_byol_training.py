# SPDX-License-Identifier: Apache-2.0
"""Training with BYOL: batches, the saved target, resuming, collapse, invalid settings."""

import json
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from warm_python import WarmPython

from mser_llm.evaluation.protocols import check_model_leak
from mser_llm.inference.loading import load_model
from mser_llm.io.errors import InputError
from mser_llm.training.objectives import BYOL, UNKNOWN, ObjectiveBatch, ObjectiveError
from mser_llm.training.objectives.byol import steps_below
from mser_llm.training.run_training import resolve_recipe, train
from mser_llm.training.trainer import MSERTrainer


SCRIPT = Path(__file__).resolve().parents[1] / "watched_training.py"


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """Per step: the trainer, the batch, and the inputs of the model."""
    steps: list[tuple] = []
    original = MSERTrainer.compute_loss

    def compute_loss(self: MSERTrainer, model, inputs, *args, **kwargs):
        def forward(**given):
            steps.append((self, inputs, given))
            return model(**given)

        return original(self, forward, inputs, *args, **kwargs)

    monkeypatch.setattr(MSERTrainer, "compute_loss", compute_loss)
    return steps


def test_byol_never_uses_unlabelled_emotions_and_shares_the_loss(recipe, rows, tmp_path, watched):
    results = train(rows, *recipe())
    assert results["clips"]["train"] == 24 + 36
    assert results["data"]["emotions"] == dict.fromkeys(["neutral", "happy", "sad", "angry"], 6)
    steps = [entry for entry in results["log_history"] if "loss_byol" in entry]
    assert [entry["byol_lambda"] for entry in steps] == pytest.approx([0.8 - 0.6 * step / 8 for step in range(8)])
    for entry in steps:
        share = entry["byol_lambda"]
        expected = share * entry["loss_byol"] + (1 - share) * entry["loss_ce"]
        assert entry["loss"] == pytest.approx(expected, abs=1e-3)
        assert 0 < entry["byol_std"] < 1.5
    assert results["byol"] == {"std": steps[-1]["byol_std"], "steps_below": 0, "collapsed": False}
    sources = set()
    for _, clips, given in watched:
        known = clips["labels"][clips["labels"] != -100]
        assert len(known) in (0, 8)
        sources.add(len(known))
        # Two unlabelled views of each clip, three labelled views of each labelled clip.
        assert len(given["labels"]) == len(given["encoder_states"]) == 16 + 3 * len(known)
        assert (given["labels"][:16] == -100).all()
        assert torch.equal(given["labels"][16:], known.repeat(3))
        assert not torch.equal(given["encoder_states"][:8], given["encoder_states"][8:16])
        assert torch.equal(given["encoder_mask"][:8], clips["encoder_mask"])
    assert sources == {0, 8}
    strange = [{**row, "emotion": "amused"} if row["language"] == "pl" else row for row in rows]
    again = train(strange, *recipe(output_dir=str(tmp_path / "again")))
    assert again["dropped"] == {}
    weights = [load_file(tmp_path / run / "model.safetensors") for run in ("run", "again")]
    assert all(torch.equal(weights[1][name], value) for name, value in weights[0].items())
    record = json.loads((tmp_path / "run" / "train_results.json").read_text())["data"]
    assert record["heard"]["languages"] == ["en"] and record["heard_unlabelled"]["languages"] == ["pl"]
    polish = [row for row in rows if row["language"] == "pl"]
    report = check_model_leak(tmp_path / "run", polish)
    assert not report.found and report.unlabelled_clips == 36


def test_byol_target_follows_the_schedule_and_is_saved(recipe, rows, tmp_path, monkeypatch):
    settings = recipe(validation_fraction=0, load_best_model_at_end=False)
    states: list[dict[str, torch.Tensor]] = []
    trainers: list[MSERTrainer] = []
    step = MSERTrainer.training_step

    def online(trainer) -> dict[str, torch.Tensor]:
        projector = trainer.objectives["byol"][1].projector.named_parameters(prefix="projector")
        values = trainer.shadow.parameters | dict(projector)
        return {name: value.detach().clone() for name, value in values.items()}

    def training_step(self, *args, **kwargs):
        if len(states) < self.state.global_step + 1:
            states.append(online(self))
        loss = step(self, *args, **kwargs)
        fixed = [*self.shadow.weights.values(), *self.objectives["byol"][1].target_projector.parameters()]
        assert all(value.grad is None and not value.requires_grad for value in fixed)
        trainers.append(self)
        return loss

    monkeypatch.setattr(MSERTrainer, "training_step", training_step)
    train(rows, *settings)
    objective = trainers[0].objectives["byol"][1]
    last = load_file(tmp_path / "run" / "checkpoint-8" / "model.safetensors")
    states.append(last | dict(objective.projector.named_parameters(prefix="projector")))
    assert len(states) == 9
    momenta = [1 - 0.1 * (torch.cos(torch.tensor(torch.pi * k / 8)).item() + 1) / 2 for k in range(8)]
    assert momenta[0] == pytest.approx(0.9) and momenta[4] == pytest.approx(0.95)
    saved = load_file(tmp_path / "run" / "model.safetensors")
    found = saved | dict(objective.target_projector.named_parameters(prefix="projector"))
    for name, start in states[0].items():
        target = start.clone()
        for momentum, state in zip(momenta, states[1:], strict=True):
            target = momentum * target + (1 - momentum) * state[name]
        torch.testing.assert_close(found[name], target, atol=1e-6, rtol=1e-4)
        assert name.startswith(("audio_tower.", "projector."))
    assert any(not torch.allclose(found[name], states[-1][name], atol=1e-4) for name in states[0])
    head = [name for name in saved if name.startswith("classifier.")]
    assert head and all(torch.equal(saved[name], last[name]) for name in head)


def test_byol_evaluates_the_target_of_the_best_checkpoint(recipe, rows, tmp_path):
    results = train(rows, *recipe(num_train_epochs=3, save_total_limit=9))
    evaluated = {entry["step"]: entry["eval_loss"] for entry in results["log_history"] if "eval_loss" in entry}
    best = int(json.loads((tmp_path / "run" / "checkpoint-12" / "trainer_state.json").read_text())["best_global_step"])
    assert results["validation"]["eval_loss"] == pytest.approx(evaluated[best], abs=1e-6)
    target = load_file(tmp_path / "run" / f"checkpoint-{best}" / "byol_target.safetensors")
    saved = load_file(tmp_path / "run" / "model.safetensors")
    assert target and all(torch.equal(saved[name], value) for name, value in target.items())
    load_model(str(tmp_path / "run"), "cpu")


@pytest.mark.parametrize(("momentum", "steps", "warns"), [(0.9, 4, True), (0.0, 10, False)])
def test_byol_warns_about_a_slow_target(momentum, steps, warns):
    objective = BYOL(6, momentum=momentum, hidden_size=7, projection_size=5)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        objective.on_train_begin(steps)
    assert bool(found) == warns


@pytest.mark.parametrize("trained_layers", [1, pytest.param(None, marks=pytest.mark.slow)])
def test_byol_resumes_to_the_same_result(recipe, rows, tmp_path, interrupt, trained_layers):
    settings = {"trained_layers": trained_layers, "validation_fraction": 0, "load_best_model_at_end": False}
    uninterrupted = train(rows, *recipe(**settings, output_dir=str(tmp_path / "unbroken")))
    interrupt(6, rows, *recipe(**settings))
    resumed = train(rows, *recipe(**settings))
    assert resumed["byol"] == uninterrupted["byol"]
    for file in ("model.safetensors", "checkpoint-8/objectives.safetensors", "checkpoint-8/byol_target.safetensors"):
        found, expected = (load_file(tmp_path / run / file) for run in ("run", "unbroken"))
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], value) for name, value in expected.items()), file
    own = load_file(tmp_path / "run" / "checkpoint-8" / "objectives.safetensors")
    assert {name.split(".")[1] for name in own} == {"projector", "predictor", "target_projector"}


@pytest.mark.slow
def test_byol_keeps_two_processes_equal(recipe_file, tones: Path, warm_python: WarmPython, tmp_path: Path):
    words = ["train", recipe_file(per_device_train_batch_size=4), "--corpora", f"folder={tones}"]
    finished = warm_python.run_twice(SCRIPT, "never", tmp_path, *words)
    assert finished.returncode == 0, finished.stderr
    first, second = (torch.load(tmp_path / f"rank{rank}.pt") for rank in (0, 1))
    assert {"target.audio_tower.layer_norm.weight", "byol.target_projector.0.weight"} <= set(first)
    assert first.keys() == second.keys()
    assert all(torch.equal(second[name], value) for name, value in first.items())
    name = "audio_tower.layers.2.fc1.weight"
    assert not torch.equal(first[f"target.{name}"], first[name])
    results = json.loads((tmp_path / "run" / "train_results.json").read_text())
    assert results["log_history"][0]["byol_std"] > 0


@pytest.mark.slow
def test_byol_reports_collapse(recipe, rows):
    """Nothing prevents collapse without predictor, batch normalization and a slow target."""
    options = {"hidden_size": 16, "projection_size": 8, "momentum": 0.0, "lambda_start": 1.0, "lambda_end": 1.0}
    settings = {
        "objectives": {"byol": options}, "epoch_batches": 40, "num_train_epochs": 2, "learning_rate": 0.02,
        "validation_fraction": 0, "load_best_model_at_end": False, "objective_learning_rate": 0.05,
    }  # fmt: skip
    loss = BYOL.loss

    def unprotected(self, *args):
        self.predictor = torch.nn.Identity()
        self.projector[1] = self.target_projector[1] = torch.nn.Identity()
        return loss(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BYOL, "loss", unprotected)
        with pytest.warns(UserWarning, match="collapsed"):
            results = train(rows, *recipe(**settings))
    assert results["byol"]["collapsed"] and results["byol"]["std"] < 0.1


@pytest.mark.slow
def test_byol_with_its_protections_does_not_collapse(recipe, rows):
    settings = {"epoch_batches": 60, "validation_fraction": 0, "load_best_model_at_end": False}
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="byol has collapsed")
        results = train(rows, *recipe(**settings))
    assert not results["byol"]["collapsed"] and results["byol"]["std"] > 0.3


def test_steps_below_counts_back_from_the_last_log():
    def history(*spreads):
        return [{"step": 10 * n, "byol_std": spread} for n, spread in enumerate(spreads, 1)] + [{"step": 99}]

    assert steps_below([]) == 0
    assert steps_below(history(0.5, 0.05)) == 10
    assert steps_below(history(0.05, 0.5, 0.05, 0.02, 0.01)) == 30
    assert steps_below(history(0.05, 0.02, 0.5)) == 0


def test_byol_rejects_settings_it_cannot_combine_with(recipe, rows, capsys):
    with pytest.raises(ObjectiveError, match="trained_layers"):
        train(rows, *recipe(trained_layers=0))
    with pytest.raises(SystemExit):
        recipe(average_from=0.3)
    assert "average_from: byol" in capsys.readouterr().err
    model, data, training = recipe()
    model.model_type = "mser"
    with pytest.raises(InputError) as raised:
        resolve_recipe(model, data, training)
    assert raised.value.source == "labelled_languages"
    data.labelled_languages = []
    with pytest.raises(ObjectiveError) as raised:
        resolve_recipe(model, data, training)
    assert raised.value.source == "objectives: byol"
    with pytest.raises(InputError) as raised:
        train(rows, *recipe(labelled_languages=[]))
    assert raised.value.source == "balance source"


def test_byol_trains_with_other_objectives_and_mixed_batches(recipe, rows, watched):
    section = {"byol": {"hidden_size": 16, "projection_size": 8}, "supervised_contrast": {"projection_size": 4}}
    results = train(rows, *recipe(objectives=section, num_train_epochs=1))
    assert {"loss_byol", "loss_supervised_contrast", "loss_ce"} <= set(results["log_history"][0])
    trainer, clips, _ = watched[0]
    labels = torch.tensor([0, -100, 2, -100])
    few = {"encoder_states": clips["encoder_states"][:4], "encoder_mask": clips["encoder_mask"][:4], "labels": labels}
    unknown = torch.full((4,), UNKNOWN)
    given, batch = trainer.objectives["byol"][1].prepare_batch(few, ObjectiveBatch(unknown, torch.arange(4), unknown))
    assert given["labels"].tolist() == [-100] * 8 + [0, 2] * 3
    assert batch.languages.tolist() == [0, 1, 2, 3] * 2 + [0, 2] * 3
    assert batch.views.tolist() == [0] * 4 + [1] * 4 + [UNKNOWN] * 6 and len(batch.targets) == 8
