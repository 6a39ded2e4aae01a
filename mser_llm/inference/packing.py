# SPDX-License-Identifier: Apache-2.0
"""Weights of linear layers in the order in which oneDNN multiplies fastest, for recognition in float32 on a CPU.

Torch hands a float32 product to MKL, which on processors of other makers than Intel may run at half of what they can
do; oneDNN, which torch brings along too, generates its code for the processor at hand.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional


def _pack(weight: torch.Tensor) -> torch.Tensor:
    return torch.ops.mkldnn._reorder_linear_weight(weight.contiguous())


def _product(inputs: torch.Tensor, packed: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    return torch.ops.mkldnn._linear_pointwise(inputs.contiguous(), packed, bias, "none", [], "")


# The compiler takes oneDNN's own operation for one of those that it made itself, of weights that it knows, and fails;
# one that it cannot look into it calls.
_opaque_product = torch.library.custom_op("mser::packed_linear", _product, mutates_args=())


@_opaque_product.register_fake
def _shape_of_product(inputs: torch.Tensor, packed: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    return inputs.new_empty((*inputs.shape[:-1], packed.shape[0]))


class RecognitionLinear(nn.Module):
    """A linear layer whose weight is no parameter: in a training it would silently be left out."""

    def train(self, mode: bool = True) -> "RecognitionLinear":
        """
        Raises:
            RuntimeError: training mode was asked for.
        """
        if mode:
            raise RuntimeError(
                "this network was loaded for recognition, with weights that cannot be trained; to train it, load it "
                "with from_pretrained of its class"
            )
        return super().train(mode)


class PackedLinear(RecognitionLinear):
    """
    A linear layer that holds its weight packed, and nothing else of it: memory stays what it was.

    Answers differ from `nn.Linear`'s by the order of the sums. What is saved is the weight as it was, to the bit.
    Moved to another precision or device the layer holds its weight as `nn.Linear` does.

    Args:
        linear: the layer, in float32 on the CPU.
    """

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self._hold(linear.weight.detach())
        self.bias = linear.bias

    @property
    def weight(self) -> torch.Tensor:
        """`(out_features, in_features)`, unpacked anew at each call."""
        return self.held.to_dense() if self.is_packed else self.held

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """From `(…, in_features)` to `(…, out_features)`."""
        if not self.is_packed:
            return functional.linear(inputs, self.held, self.bias)
        if torch.compiler.is_compiling():
            return _opaque_product(inputs, self.held, self.bias)
        # The packed product knows no gradient and no other precision.
        if (torch.is_grad_enabled() and inputs.requires_grad) or torch.is_autocast_enabled("cpu"):
            return functional.linear(inputs, self.weight, self.bias)
        return _product(inputs, self.held, self.bias)

    def _hold(self, weight: torch.Tensor) -> None:
        self.is_packed = weight.dtype == torch.float32 and weight.device.type == "cpu"
        self.held = _pack(weight) if self.is_packed else weight

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> "PackedLinear":
        probe = fn(torch.empty(0, dtype=self.held.dtype, device=self.held.device))
        if (probe.dtype, probe.device) != (self.held.dtype, self.held.device):
            self._hold(fn(self.weight))
        return super()._apply(fn, recurse)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "held": self.weight}  # what is packed can be neither copied nor pickled

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._hold(state["held"])

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        destination[f"{prefix}weight"] = self.weight
        super()._save_to_state_dict(destination, prefix, keep_vars)


def can_pack() -> bool:
    """Whether torch was built with oneDNN, and with its packed products."""
    wanted = ("_reorder_linear_weight", "_linear_pointwise")
    return torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, name) for name in wanted)


def pack_linear_layers(network: nn.Module) -> None:
    """Packs the float32 linear layers of a network on the CPU, in place and one by one.

    A layer that shares its weight with an embedding is left as it is: packed, the weight would be held twice.
    """
    if not can_pack():
        return
    shared = {id(module.weight) for module in network.modules() if isinstance(module, nn.Embedding)}
    # Names alone are kept: a list of the layers would hold every weight twice until the last is packed.
    for name in [name for name, module in network.named_modules() if type(module) is nn.Linear]:
        linear = network.get_submodule(name)
        if linear.weight.dtype == torch.float32 and id(linear.weight) not in shared:
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, PackedLinear(linear))


__all__ = ["PackedLinear", "RecognitionLinear", "can_pack", "pack_linear_layers"]
