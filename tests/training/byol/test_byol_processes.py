# SPDX-License-Identifier: Apache-2.0
"""BYOL in two gloo processes has the loss, gradient and target of one process on the joined batch."""

import json
from pathlib import Path

import pytest
import torch
from torch import distributed as dist
from torch import multiprocessing, nn
from warm_python import WarmPython

from mser_llm.training.distributed import leave_process_group
from mser_llm.training.objectives import BYOL, UNKNOWN, ViewedBatch


SCRIPT = Path(__file__).resolve().parents[1] / "two_process_training.py"
CLIPS = 5


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 10), nn.Tanh(), nn.Linear(10, 4))


def outcome(model: nn.Module, clips: slice) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
    """Return loss, spread, and gradients of model, projector and predictor for a batch of views."""
    torch.manual_seed(1)
    objective = BYOL(4, hidden_size=7, projection_size=3)
    inputs, aims = torch.randn(3, CLIPS, 6)[:, clips], torch.randn(2, CLIPS, 4)[:, clips]
    size = inputs.shape[1]
    views = torch.tensor([0, 1, UNKNOWN]).repeat_interleave(size)
    batch = ViewedBatch(views, views, views, views, aims.flatten(0, 1))
    loss, metrics = objective.compute(model(inputs.flatten(0, 1)), batch)
    loss.backward()
    trained = [*model.named_parameters(), *((n, p) for n, p in objective.named_parameters() if p.requires_grad)]
    return (
        loss.detach(),
        metrics["byol_std"],
        {n.removeprefix("module."): p.grad.clone() for n, p in trained},
    )


def worker(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    torch.set_num_threads(1)
    mine = slice(0, 3) if rank == 0 else slice(3, CLIPS)
    torch.save(outcome(nn.parallel.DistributedDataParallel(network()), mine), f"{folder}/rank{rank}.pt")
    leave_process_group()


def test_byol_in_two_processes_equals_one_process(tmp_path: Path):
    multiprocessing.spawn(worker, args=(str(tmp_path),), nprocs=2)
    loss, spread, gradients = outcome(network(), slice(0, CLIPS))
    for rank in (0, 1):
        found_loss, found_spread, found = torch.load(tmp_path / f"rank{rank}.pt")
        torch.testing.assert_close(found_loss, loss, atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(found_spread, spread, atol=1e-6, rtol=1e-6)
        assert found.keys() == gradients.keys()
        for name, gradient in gradients.items():
            torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_byol_keeps_two_processes_equal(recipe_file, tones: Path, warm_python: WarmPython, tmp_path: Path):
    words = ["train", recipe_file(per_device_train_batch_size=4), "--corpora", f"folder={tones}"]
    finished = warm_python.run_twice(SCRIPT, tmp_path, "never", *words)
    assert finished.returncode == 0, finished.stderr
    first, second = (torch.load(tmp_path / f"rank{rank}.pt") for rank in (0, 1))
    assert {"target.audio_tower.layer_norm.weight", "byol.target_projector.0.weight"} <= set(first)
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(second[name], value), name
    name = "audio_tower.layers.2.fc1.weight"
    assert not torch.equal(first[f"target.{name}"], first[name])
    results = json.loads((tmp_path / "run" / "train_results.json").read_text())
    assert results["log_history"][0]["byol_std"] > 0
