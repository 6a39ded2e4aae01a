# SPDX-License-Identifier: Apache-2.0
"""Weights in fewer bits: int8 in place on a CPU, 4 bits on CUDA through bitsandbytes."""

from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import nn

from modeling_mser.lora_mser import is_lora
from mser_llm.inference.packing import RecognitionLinear


Quantization = Literal["int8", "4bit"]
_TINY = 1e-12


class Int8Linear(RecognitionLinear):
    """
    A linear layer that multiplies in int8 and sums in int32: dynamic quantisation, for recognition only.

    Weights have a scale for each output channel, inputs one for each row, taken from the row itself, so that a clip's
    answer depends as little on its company as in full precision. `quantize_dynamic` of torch, which is deprecated, has
    one scale for the whole batch.

    Args:
        linear: the layer in float32.
    """

    def __init__(self, linear: nn.Linear):
        super().__init__()
        weight = linear.weight.detach()
        scale = weight.abs().amax(1, keepdim=True).clamp(min=_TINY) / 127
        self.register_buffer("whole", (weight / scale).round().to(torch.int8).t(), persistent=False)
        self.register_buffer("scale", scale[:, 0], persistent=False)
        self.bias = linear.bias

    @property
    def weight(self) -> torch.Tensor:
        """`(out_features, in_features)` in float32, as rounded, for a network that multiplies by it itself (WavLM)."""
        return self.whole.t() * self.scale[:, None]

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """From `(…, in_features)` to `(…, out_features)`."""
        rows = inputs.reshape(-1, inputs.shape[-1])
        row_scale = rows.abs().amax(1, keepdim=True).clamp(min=_TINY) / 127
        products = torch._int_mm((rows / row_scale).round().to(torch.int8), self.whole)
        outputs = products.to(inputs.dtype) * row_scale * self.scale
        if self.bias is not None:
            outputs = outputs + self.bias
        return outputs.view(*inputs.shape[:-1], -1)


def check_quantization(kind: str, device: str) -> None:
    """That a way of quantising can be had here, before a model is loaded for nothing.

    Args:
        kind: `int8` or `4bit`.
        device: as `pick_device` gives it.

    Raises:
        ValueError: an unknown kind, or one for another device.
        ImportError: its library is not installed.
    """
    if kind not in ("int8", "4bit"):
        raise ValueError(f"quantize is {kind!r}; choose int8 or 4bit")
    if kind == "int8" and device != "cpu":
        raise ValueError(f"int8 is for the CPU and the device is {device}; give --device cpu, or --quantize 4bit")
    if kind == "4bit" and not device.startswith("cuda"):
        raise ValueError(f"4bit needs a CUDA device and the device is {device}; give --quantize int8, or leave it out")
    if kind == "4bit" and find_spec("bitsandbytes") is None:
        raise ImportError('--quantize 4bit needs bitsandbytes; pip install "mser-llm[quantization]"')


def four_bit_loading(device: str) -> dict[str, Any]:
    """Arguments of `from_pretrained` that load the language model in 4 bits (NF4) and compute in bfloat16."""
    from transformers import BitsAndBytesConfig

    weights = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16)
    return {"quantization_config": weights, "device_map": {"": device}}


def quantize_to_int8(model: Any) -> None:
    """Puts the linear layers of encoder and language model into int8, in place.

    The Q-Former, adapters and the layer that gives the words their scores keep their precision: they are small, or the
    last.
    """
    for part in (model.audio_tower, model.language_model):
        modules = () if part is None else part.named_modules()
        # Names alone are kept: a list of the layers would hold every weight twice until the last is done.
        for name in [name for name, module in modules if type(module) is nn.Linear]:
            if not is_lora(name) and name != "lm_head":
                parent, _, child = name.rpartition(".")
                setattr(part.get_submodule(parent), child, Int8Linear(part.get_submodule(name)))


__all__ = ["Int8Linear", "Quantization", "check_quantization", "four_bit_loading", "quantize_to_int8"]
