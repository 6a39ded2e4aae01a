# SPDX-License-Identifier: Apache-2.0
"""Pack the weights of linear layers for oneDNN, for recognition in float32 on a CPU.

Torch uses MKL for float32 products, which reaches half the speed on processors that are not from Intel. oneDNN, which
comes with torch, generates its code for the processor at hand.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from mser_llm.inference.compat import can_pack, pack_weight, packed_product


# torch.compile takes oneDNN's operation for one that it generated itself, and fails; it calls an opaque one.
_opaque_product = torch.library.custom_op("mser::packed_linear", packed_product, mutates_args=())


@_opaque_product.register_fake
def _shape_of_product(inputs: torch.Tensor, packed: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    return inputs.new_empty((*inputs.shape[:-1], packed.shape[0]))


class RecognitionLinear(nn.Module):
    """A linear layer whose weight is not a parameter, so that training would silently leave it out."""

    def train(self, mode: bool = True) -> "RecognitionLinear":
        """Raise a RuntimeError if `mode` is true."""
        if mode:
            raise RuntimeError(
                "this network was loaded for recognition, and cannot be trained; load it with from_pretrained"
            )
        return super().train(mode)


class PackedLinear(RecognitionLinear):
    """
    A linear layer that stores only its packed weight, so that memory does not grow.

    Outputs differ from those of `nn.Linear` by the order of the sums. The saved weight equals the original to the bit.
    In another precision or on another device, the layer stores its weight as `nn.Linear` does.

    Args:
        linear: the layer, in float32 on the CPU.
    """

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self._store(linear.weight.detach())
        self.bias = linear.bias

    @property
    def weight(self) -> torch.Tensor:
        """`(out_features, in_features)`, unpacked at each access."""
        return self.stored.to_dense() if self.is_packed else self.stored

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """From `(…, in_features)` to `(…, out_features)`."""
        if not self.is_packed:
            return functional.linear(inputs, self.stored, self.bias)
        if torch.compiler.is_compiling():
            return _opaque_product(inputs, self.stored, self.bias)
        # The packed product has no gradient and no other precision.
        if (torch.is_grad_enabled() and inputs.requires_grad) or torch.is_autocast_enabled("cpu"):
            return functional.linear(inputs, self.weight, self.bias)
        return packed_product(inputs, self.stored, self.bias)

    def _store(self, weight: torch.Tensor) -> None:
        self.is_packed = weight.dtype == torch.float32 and weight.device.type == "cpu"
        self.stored = pack_weight(weight) if self.is_packed else weight

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> "PackedLinear":
        probe = fn(torch.empty(0, dtype=self.stored.dtype, device=self.stored.device))
        if (probe.dtype, probe.device) != (self.stored.dtype, self.stored.device):
            self._store(fn(self.weight))
        return super()._apply(fn, recurse)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "stored": self.weight}  # a packed tensor can be neither copied nor pickled

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._store(state["stored"])

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        destination[f"{prefix}weight"] = self.weight
        super()._save_to_state_dict(destination, prefix, keep_vars)


def pack_linear_layers(network: nn.Module) -> None:
    """Pack the float32 linear layers of a network on the CPU, in place and one by one.

    A layer that shares its weight with an embedding is left alone: its weight would be in memory twice.
    """
    if not can_pack():
        return
    shared = {id(module.weight) for module in network.modules() if isinstance(module, nn.Embedding)}

    def chosen(_: str, linear: nn.Linear) -> bool:
        return linear.weight.dtype == torch.float32 and id(linear.weight) not in shared

    replace_linear_layers(network, PackedLinear, chosen)


def replace_linear_layers(
    network: nn.Module, layer: Callable[[nn.Linear], nn.Module], chosen: Callable[[str, nn.Linear], bool]
) -> None:
    """Replace the linear layers that `chosen` accepts by name, in place and one by one."""
    # A list of names, because a list of layers would keep every weight in memory twice.
    for name in [name for name, module in network.named_modules() if type(module) is nn.Linear]:
        linear = network.get_submodule(name)
        if chosen(name, linear):
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, layer(linear))
