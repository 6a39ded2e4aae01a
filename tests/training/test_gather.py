# SPDX-License-Identifier: Apache-2.0
"""Objectives over several gloo processes equal one process on the joined batch."""

from pathlib import Path

import pytest
import torch
from objective_batches import labelled
from torch import distributed as dist
from torch import multiprocessing, nn

from mser_llm.training.distributed import leave_process_group
from mser_llm.training.objectives import (
    MarginContrast,
    Objective,
    SpeakerAdversarial,
    SpeakerContrast,
    SupervisedContrast,
)


EMOTIONS = [0, 1, 0, 2, 1, 1, 2, 0, -1]
LANGUAGES = [0, 0, 1, 1, 0, 1, 1, 0, 0]
SPEAKERS = [0, 0, 1, 2, 2, -1, 1, 0, 1]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 10), nn.Tanh(), nn.Linear(10, 5))


def objectives() -> dict[str, Objective]:
    torch.manual_seed(2)
    return {
        "margin": MarginContrast(margin=0.2),
        "supervised": SupervisedContrast(5, cross_language_weight=2.0, projection_size=4),
        "speaker": SpeakerContrast(5, projection_size=3),
        "adversarial": SpeakerAdversarial(5, num_speakers=3, hidden_size=8),
    }


def inputs() -> torch.Tensor:
    return torch.randn(9, 6, generator=torch.Generator().manual_seed(1))


def outcome(model: nn.Module, objective: Objective, rows: slice) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return the loss and the gradients of the model and of the objective."""
    model.zero_grad()
    labels = labelled(EMOTIONS[rows], LANGUAGES[rows], SPEAKERS[rows], progress=0.3)
    loss = objective(model(inputs()[rows]), labels)
    loss.backward()
    parameters = [*model.named_parameters(), *objective.named_parameters(prefix="objective")]
    return loss.detach(), {name.removeprefix("module."): value.grad.clone() for name, value in parameters}


# Rows of each process: even batches, then a short last batch.
SIZES = {2: ((4, 4), (7, 2)), 3: ((3, 3, 2), (5, 3, 1))}


def worker(rank: int, folder: str, world_size: int) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world_size)
    torch.set_num_threads(1)
    results = {}
    for sizes in SIZES[world_size]:
        rows = slice(sum(sizes[:rank]), sum(sizes[: rank + 1]))
        for name, objective in objectives().items():
            results[name, sum(sizes)] = outcome(nn.parallel.DistributedDataParallel(network()), objective, rows)
    torch.save(results, f"{folder}/rank{rank}.pt")
    leave_process_group()


@pytest.mark.parametrize("world_size", SIZES)
def test_gather_gives_the_gradient_of_the_joined_batch(world_size: int, tmp_path: Path):
    multiprocessing.spawn(worker, args=(str(tmp_path), world_size), nprocs=world_size)
    for size in (8, 9):
        for name, objective in objectives().items():
            loss, gradients = outcome(network(), objective, slice(0, size))
            assert loss.abs() > 0.05
            for rank in range(world_size):
                found_loss, found = torch.load(tmp_path / f"rank{rank}.pt")[name, size]
                torch.testing.assert_close(found_loss, loss, atol=1e-6, rtol=1e-6)
                assert found.keys() == gradients.keys()
                for key, gradient in gradients.items():
                    torch.testing.assert_close(found[key], gradient, atol=1e-5, rtol=0)
