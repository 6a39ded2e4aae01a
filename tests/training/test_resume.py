# SPDX-License-Identifier: Apache-2.0
"""A training killed by SIGKILL at any moment resumes to the result of an uninterrupted one."""

import json
import random
import signal
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import torch
from safetensors.torch import load_file
from warm_python import WarmPython


HERE = Path(__file__).parent
STEPS = 24  # 48 training clips in batches of 8, four epochs


@pytest.fixture(scope="module")
def run(tones: Path, warm_python: WarmPython):
    """Train in a folder up to a moment, with further flags."""
    given = ["train", HERE.parent / "recipe.yaml", "--corpora", f"folder={tones}"]

    def train(moment: str, folder: Path, *flags: str) -> CompletedProcess:
        places = ["--output_dir", folder / "run", "--cache_dir", folder / "cache"]
        return warm_python.run(HERE / "watched_training.py", moment, folder, *given, *flags, *places)

    return train


def outcome(folder: Path) -> tuple[dict[str, torch.Tensor], list[tuple[float, float]], float]:
    results = json.loads((folder / "run" / "train_results.json").read_text())
    losses = [(entry["step"], entry["eval_loss"]) for entry in results["log_history"] if "eval_loss" in entry]
    return load_file(folder / "run" / "model.safetensors"), losses, results["validation"]["eval_loss"]


@pytest.fixture(scope="module")
def uninterrupted(run, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("unbroken")
    finished = run("never", folder)
    assert finished.returncode == 0, finished.stderr
    return outcome(folder)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["step", "save:begun", "save:written", "cache"])
def test_training_resumes_after_a_kill(kind: str, run, tmp_path: Path, uninterrupted):
    # One step after the first checkpoint.
    moment = f"step:{random.randrange(7, STEPS)}" if kind == "step" else kind
    killed = run(moment, tmp_path)
    assert killed.returncode == -signal.SIGKILL, f"{moment}: {killed.stderr}"
    checkpoints = sorted(path.name for path in (tmp_path / "run").glob("checkpoint-*"))
    assert bool(checkpoints) == (kind == "step"), checkpoints
    resumed = run("never", tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert not list((tmp_path / "run").glob("partial*"))
    weights, losses, final = outcome(tmp_path)
    expected_weights, expected_losses, expected_final = uninterrupted
    # An evaluation between the last checkpoint and the kill is repeated and recorded once.
    assert losses == expected_losses, moment
    assert final == expected_final
    for name, tensor in expected_weights.items():
        assert torch.equal(weights[name], tensor), f"{moment}: {name}"


@pytest.mark.slow
def test_training_resumes_after_repeated_kills_with_the_same_settings(run, tmp_path: Path, uninterrupted):
    for moment in ("step:8", "save:written", "step:17"):
        assert run(moment, tmp_path).returncode == -signal.SIGKILL
    rejected = run("never", tmp_path, "--learning_rate", "0.5")
    assert rejected.returncode == 2
    assert "learning_rate 0.01 -> 0.5" in rejected.stderr and "--no_resume" in rejected.stderr
    assert len(rejected.stderr.strip().splitlines()[-1]) < 500
    assert run("never", tmp_path).returncode == 0
    weights, losses, _ = outcome(tmp_path)
    assert losses == uninterrupted[1]
    assert all(torch.equal(weights[name], tensor) for name, tensor in uninterrupted[0].items())
    again = run("never", tmp_path)
    assert again.returncode == 0 and "already contains this run" in again.stdout
