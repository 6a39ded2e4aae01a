# SPDX-License-Identifier: Apache-2.0
"""Private interfaces of torch that have no public replacement.

`tests/inference/test_compat.py` fails with the version's name if one of them moves.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn


def can_pack() -> bool:
    """Return whether torch has oneDNN and its products with reordered weights."""
    names = ("_reorder_linear_weight", "_linear_pointwise")
    return torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, name) for name in names)


def pack_weight(weight: torch.Tensor) -> torch.Tensor:
    """Reorder a float32 weight as oneDNN multiplies it fastest; `to_dense` undoes it. Public layers do not do that."""
    return torch.ops.mkldnn._reorder_linear_weight(weight.contiguous())


def packed_product(inputs: torch.Tensor, packed: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Return `inputs @ weight.T + bias` for a weight of `pack_weight`."""
    return torch.ops.mkldnn._linear_pointwise(inputs.contiguous(), packed, bias, "none", [], "")


def int8_product(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Return the int32 product of int8 matrices. `torch.matmul` has none on a CPU."""
    return torch._int_mm(rows, columns)


@contextmanager
def compiled_modules(modules: Sequence[nn.Module], max_shapes: int) -> Iterator[None]:
    """Compile modules for the duration, which `nn.Module.compile` cannot, and raise if more shapes occur."""
    before = [module._compiled_call_impl for module in modules]
    for module in modules:
        module.compile(dynamic=False)
    try:
        with torch._dynamo.config.patch(recompile_limit=max_shapes, fail_on_recompile_limit_hit=True):
            yield
    finally:
        for module, call in zip(modules, before, strict=True):
            module._compiled_call_impl = call


def compiler_errors() -> tuple[type[Exception], ...]:
    """Return the errors of a failed compilation; the second is not a subclass of the first."""
    return torch._dynamo.exc.TorchDynamoException, torch._dynamo.exc.FailOnRecompileLimitHit
