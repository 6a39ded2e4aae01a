# SPDX-License-Identifier: Apache-2.0
"""Batches of all processes as one, with gradient, uneven last batches included."""

from typing import Any

import torch
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
