# SPDX-License-Identifier: Apache-2.0
"""The contrast over two gloo processes against one process on the joined batch, uneven last batch included."""

from pathlib import Path

import torch
from torch import distributed as dist
from torch import multiprocessing, nn

from training_mser.objectives import MarginContrast


EMOTIONS = torch.tensor([0, 1, 0, 2, 1, 1, 2, 0, 0])


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 10), nn.Tanh(), nn.Linear(10, 5))


def inputs() -> torch.Tensor:
    return torch.randn(9, 6, generator=torch.Generator().manual_seed(1))


def gradients(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name.removeprefix("module."): parameter.grad for name, parameter in module.named_parameters()}


def worker(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    torch.set_num_threads(1)
    model = nn.parallel.DistributedDataParallel(network())
    results = {}
    # Even batches, then a last batch of seven rows against two.
    for name, sizes in (("even", (4, 4)), ("uneven", (7, 2))):
        model.zero_grad()
        rows = slice(0, sizes[0]) if rank == 0 else slice(sizes[0], sum(sizes))
        loss = MarginContrast(margin=0.2)(model(inputs()[rows]), EMOTIONS[rows])
        loss.backward()
        results[name] = (loss.detach(), {key: value.clone() for key, value in gradients(model).items()})
    torch.save(results, f"{folder}/rank{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_give_the_gradient_of_one_on_the_joined_batch(tmp_path: Path):
    multiprocessing.spawn(worker, args=(str(tmp_path),), nprocs=2)
    for name, size in (("even", 8), ("uneven", 9)):
        model = network()
        loss = MarginContrast(margin=0.2)(model(inputs()[:size]), EMOTIONS[:size])
        loss.backward()
        assert loss > 0.05
        for rank in (0, 1):
            found_loss, found = torch.load(tmp_path / f"rank{rank}.pt")[name]
            torch.testing.assert_close(found_loss, loss.detach(), atol=1e-6, rtol=0)
            for key, gradient in gradients(model).items():
                torch.testing.assert_close(found[key], gradient, atol=1e-5, rtol=0)
