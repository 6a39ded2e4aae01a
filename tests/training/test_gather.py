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
    BYOL,
    UNKNOWN,
    MarginContrast,
    Objective,
    SpeakerAdversarial,
    SpeakerContrast,
    SupervisedContrast,
    ViewedBatch,
)


EMOTIONS = [0, 1, 0, 2, 1, 1, 2, 0, -1]
LANGUAGES = [0, 0, 1, 1, 0, 1, 1, 0, 0]
SPEAKERS = [0, 0, 1, 2, 2, -1, 1, 0, 1]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 10), nn.Tanh(), nn.Linear(10, 5))


def objectives() -> list[Objective]:
    torch.manual_seed(2)
    return [
        MarginContrast(margin=0.2),
        SupervisedContrast(5, cross_language_weight=2.0, projection_size=4),
        SpeakerContrast(5, projection_size=3),
        SpeakerAdversarial(5, num_speakers=3, hidden_size=8),
        BYOL(5, hidden_size=7, projection_size=3),
    ]


def outcome(model: nn.Module, objective: Objective, rows: slice) -> dict[str, torch.Tensor]:
    """Return the loss, the metrics, and the gradients of the model and of the objective."""
    model.zero_grad()
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(9, 6, generator=generator)[rows]
    batch = labelled(EMOTIONS[rows], LANGUAGES[rows], SPEAKERS[rows], progress=0.3)
    if isinstance(objective, BYOL):
        views, aims = (torch.randn(*size, generator=generator)[:, rows] for size in ((3, 9, 6), (2, 9, 5)))
        numbers = torch.tensor([0, 1, UNKNOWN]).repeat_interleave(views.shape[1])
        inputs, batch = views.flatten(0, 1), ViewedBatch(*[numbers] * 4, aims.flatten(0, 1))
    loss, metrics = objective.compute(model(inputs), batch)
    loss.backward()
    parameters = [*model.named_parameters(), *objective.named_parameters(prefix="objective")]
    gradients = {name.removeprefix("module."): one.grad.clone() for name, one in parameters if one.requires_grad}
    return gradients | {name: value.detach() for name, value in metrics.items()} | {"loss": loss.detach()}


# Rows of each process: even batches, then a short last batch.
SIZES = {2: ((4, 4), (7, 2)), 3: ((3, 3, 2), (5, 3, 1))}


def worker(rank: int, folder: str, world_size: int) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world_size)
    torch.set_num_threads(1)
    results = {}
    for sizes in SIZES[world_size]:
        rows = slice(sum(sizes[:rank]), sum(sizes[: rank + 1]))
        for number, objective in enumerate(objectives()):
            results[number, sum(sizes)] = outcome(nn.parallel.DistributedDataParallel(network()), objective, rows)
    torch.save(results, f"{folder}/rank{rank}.pt")
    leave_process_group()


@pytest.mark.parametrize("world_size", SIZES)
def test_gather_gives_the_gradient_of_the_joined_batch(world_size: int, tmp_path: Path):
    multiprocessing.spawn(worker, args=(str(tmp_path), world_size), nprocs=world_size)
    for size in (8, 9):
        for number, objective in enumerate(objectives()):
            expected = outcome(network(), objective, slice(0, size))
            assert expected["loss"].abs() > 0.05
            for rank in range(world_size):
                found = torch.load(tmp_path / f"rank{rank}.pt")[number, size]
                assert found.keys() == expected.keys()
                for key, value in expected.items():
                    torch.testing.assert_close(found[key], value, atol=5e-5, rtol=0)
