# SPDX-License-Identifier: Apache-2.0
"""Counts what tensor operations cost: multiplications, memory traffic, and the memory that is alive at the worst."""

import math
import weakref
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry


@dataclass
class Work:
    """
    What a stretch of computation asks of a machine.

    Attributes:
        operations: `(FLOPs, bytes read and written, whether in half precision)` of one operation, to how often it
            occurs.
    """

    operations: Counter[tuple[int, int, bool]] = field(default_factory=Counter)

    @property
    def flops(self) -> int:
        """Of its matrix multiplications, convolutions and attention, a multiplication and an addition being two."""
        return sum(flops * count for (flops, _, _), count in self.operations.items())

    @property
    def in_half(self) -> bool:
        """Whether any of it is matrix multiplication in half precision."""
        return any(half and flops for flops, _, half in self.operations)

    def __add__(self, other: "Work") -> "Work":
        return Work(self.operations + other.operations)


def _attention_forward(arguments: tuple[Any, ...]) -> int:
    query, key, value = arguments[:3]
    return 2 * math.prod(query.shape[:-1]) * key.shape[-2] * (query.shape[-1] + value.shape[-1])


def _attention_backward(arguments: tuple[Any, ...]) -> int:
    # Five products in place of the forward pass's two: the scores again, and four gradients.
    return _attention_forward(arguments[1:]) * 5 // 2


_CPU_ATTENTION: dict[Any, Callable[[tuple[Any, ...]], int]] = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_forward,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}


class StepMeter(TorchDispatchMode):
    """
    Meters the operations that run inside it. On tensors without data (`FakeTensorMode`) nothing is computed, and a
    model of any size is metered in seconds.

    Attributes:
        work: since the start or the last `take`.
        live, peak: bytes of the tensors made inside that are alive now, and at the worst so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.work = Work()
        self.live = self.peak = 0
        self._seen: weakref.WeakSet[Any] = weakref.WeakSet()

    def take(self) -> Work:
        """The work done since the last call."""
        work, self.work = self.work, Work()
        return work

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        packet = function._overloadpacket
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        outputs = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        own = {id(tensor.untyped_storage()) for tensor in inputs}
        fresh = [tensor for tensor in outputs if id(tensor.untyped_storage()) not in own]
        for tensor in fresh:
            self._follow(tensor.untyped_storage())
        if packet in _CPU_ATTENTION:
            flops = _CPU_ATTENTION[packet](args)
        elif packet in flop_registry:
            flops = int(flop_registry[packet](*args, **kwargs, out_val=result))
        else:
            flops = 0
        if outputs and (fresh or function._schema.is_mutable):
            traffic = sum(_touched(tensor) for tensor in [*inputs, *outputs])
            half = any(tensor.dtype in (torch.bfloat16, torch.float16) for tensor in outputs)
            self.work.operations[flops, traffic, half] += 1
        return result

    def _follow(self, storage: Any) -> None:
        if storage in self._seen:
            return
        self._seen.add(storage)
        size = storage.nbytes()
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._freed, size)

    def _freed(self, size: int) -> None:
        self.live -= size


def _touched(tensor: torch.Tensor) -> int:
    """Bytes of a tensor that an operation goes over; what is broadcast is read once."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())
