# SPDX-License-Identifier: Apache-2.0
"""Distributed training: gather with gradient, launch checks and shutdown."""

import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import distributed
from torch import distributed as dist


def gather_with_gradient(tensor: torch.Tensor) -> torch.Tensor:
    """
    The rows of all processes in the order of their ranks.

    In the backward pass each process gets the sum over processes of the gradients of its own rows. When every process
    computes the same loss on the gathered rows, that sum is world_size times the gradient of one process on the joined
    batch, and the mean that data-parallel training takes over processes brings it back to exactly that.

    Args:
        tensor: `(local_rows, …)`; the number of rows may differ between processes.

    Returns:
        `(all_rows, …)`.
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


# What launchers tell their processes: torchrun, Open MPI, MPICH and Intel MPI, Slurm's srun.
_NUMBERS = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS")
# Seconds in which gloo's threads let go of what they sent last; 0.2 s sufficed on two processors with four processes.
_PARTING = 0.5


def missing_processes(environment: Mapping[str, str], running: int) -> str | None:
    """
    A line to warn with where fewer processes train together than were asked for; `None` where all do.

    `accelerate launch --cpu --num_processes 2` starts one process and says nothing. It leaves a trace: the address at
    which processes are to meet is set, and how many there are is not.

    Args:
        environment: as of `os.environ`.
        running: processes that train together.
    """
    numbers = [int(environment[name]) for name in _NUMBERS if environment.get(name, "").isdecimal()]
    asked = max(numbers, default=1)
    alone = "WORLD_SIZE" not in environment and {"ACCELERATE_MIXED_PRECISION", "MASTER_ADDR"} <= environment.keys()
    if asked <= running and not (alone and running == 1):
        return None
    wanted = str(asked) if asked > running else "several"
    return (
        f"{wanted} processes were asked for, and {running} is training; start them with "
        f"`torchrun --nproc_per_node {asked if asked > running else 'N'} -m run_mser train …` or "
        "`accelerate launch --config_file configs/accelerate/ddp.yaml --num_processes N …`"
    )


def leave_process_group() -> None:
    """
    Ends the group of processes that trained together; call it after the last exchange. Without a group it does
    nothing.

    Without it a process now and then aborts at its end ("terminate called without an active exception"), and the
    launcher takes a finished training for a failed one: a thread of gloo that still holds the tensors of the last
    exchange wants the interpreter to free them, while the interpreter is being taken down
    (https://github.com/pytorch/pytorch/pull/179291). Ending the group does not end those threads where a model was
    wrapped for data-parallel training, so they are also given time.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return
    alone = distributed.get_world_size() == 1
    distributed.destroy_process_group()
    if not alone:
        time.sleep(_PARTING)
