# SPDX-License-Identifier: Apache-2.0
"""Distributed training: gather with gradient, launch checks and shutdown."""

import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import distributed as dist


def gather_with_gradient(tensor: torch.Tensor) -> torch.Tensor:
    """
    Concatenate the rows of all processes in rank order; gradients flow back to each process.

    The backward pass sums the gradients of a process's rows over all processes. If every process computes the same
    loss on the gathered rows, the sum is world_size times the gradient of one process on the joined batch. The mean
    that data-parallel training takes over processes cancels that factor.

    Args:
        tensor: `(local_rows, …)`; the number of rows may differ between processes.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return tensor
    return _Gather.apply(tensor)


class _Gather(torch.autograd.Function):
    # torch.distributed.nn.functional.all_gather does the same for equal sizes, but is deprecated.

    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor) -> torch.Tensor:
        size = torch.tensor([tensor.shape[0]], device=tensor.device)
        sizes = [torch.zeros_like(size) for _ in range(dist.get_world_size())]
        dist.all_gather(sizes, size)
        ctx.sizes = [int(size) for size in sizes]
        padded = tensor.new_zeros(max(ctx.sizes), *tensor.shape[1:])
        padded[: tensor.shape[0]] = tensor
        gathered = [torch.zeros_like(padded) for _ in ctx.sizes]
        dist.all_gather(gathered, padded)
        return torch.cat([rows[:size] for rows, size in zip(gathered, ctx.sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        gradient = gradient.contiguous().clone()
        dist.all_reduce(gradient)
        return gradient.split(ctx.sizes)[dist.get_rank()]


# Number of processes, as set by torchrun, Open MPI, MPICH and Intel MPI, and Slurm's srun.
_NUMBERS = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS")
# Seconds for gloo's threads to release the tensors they sent last; 0.2 s sufficed for 4 processes on 2 CPU cores.
_RELEASE_SECONDS = 0.5


def missing_processes(environment: Mapping[str, str], running: int) -> str | None:
    """
    Return a warning if fewer processes train together than requested, else `None`.

    `accelerate launch --cpu --num_processes 2` silently starts a single process. This is detected by its environment:
    the rendezvous address is set, but the number of processes is not.
    """
    numbers = [int(environment[name]) for name in _NUMBERS if environment.get(name, "").isdecimal()]
    requested = max(numbers, default=1)
    alone = "WORLD_SIZE" not in environment and {"ACCELERATE_MIXED_PRECISION", "MASTER_ADDR"} <= environment.keys()
    if requested <= running and not (alone and running == 1):
        return None
    number = str(requested) if requested > running else "several"
    return (
        f"{number} processes were requested, but only {running} trains; start them with "
        f"`torchrun --nproc_per_node {requested if requested > running else 'N'} -m run_mser train …` or "
        "`accelerate launch --config_file configs/accelerate/ddp.yaml --num_processes N …`"
    )


def leave_process_group() -> None:
    """
    Destroy the process group after the last communication; do nothing if there is none.

    Otherwise a process sometimes aborts at exit ("terminate called without an active exception"), and the launcher
    reports a finished training as failed. A gloo thread then still has to free tensors while the interpreter shuts
    down (https://github.com/pytorch/pytorch/pull/179291). If a model was wrapped for data-parallel training, these
    threads outlive the group, so the function also waits for them.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return
    alone = dist.get_world_size() == 1
    dist.destroy_process_group()
    if not alone:
        time.sleep(_RELEASE_SECONDS)
