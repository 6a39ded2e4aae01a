# SPDX-License-Identifier: Apache-2.0
"""Quantize weights: int8 in place on a CPU, 4 bits on CUDA with bitsandbytes."""

from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from modeling_mser.lora_mser import is_lora
from mser_llm.inference.compat import int8_product
from mser_llm.inference.packing import RecognitionLinear, replace_linear_layers
from mser_llm.io.errors import InputError


_MIN_SCALE = 1e-12


class Int8Linear(RecognitionLinear):
    """
    A linear layer that multiplies in int8 and sums in int32: dynamic quantization, for recognition only.

    Weights have one scale per output channel and inputs one per row, so that the result of a clip depends as little on
    the other clips of its batch as in full precision. `quantize_dynamic` of torch, which is deprecated, has one scale
    for the complete batch.

    Args:
        linear: the layer in float32.
    """

    def __init__(self, linear: nn.Linear):
        super().__init__()
        weight = linear.weight.detach()
        scale = weight.abs().amax(1, keepdim=True).clamp(min=_MIN_SCALE) / 127
        self.register_buffer("quantized", (weight / scale).round().to(torch.int8).t(), persistent=False)
        self.register_buffer("scale", scale[:, 0], persistent=False)
        self.bias = linear.bias

    @property
    def weight(self) -> torch.Tensor:
        """`(out_features, in_features)`, dequantized to float32, for a network that reads it directly (WavLM)."""
        return self.quantized.t() * self.scale[:, None]

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """From `(…, in_features)` to `(…, out_features)`."""
        rows = inputs.reshape(-1, inputs.shape[-1])
        row_scale = rows.abs().amax(1, keepdim=True).clamp(min=_MIN_SCALE) / 127
        products = int8_product((rows / row_scale).round().to(torch.int8), self.quantized)
        outputs = products.to(inputs.dtype) * row_scale * self.scale
        if self.bias is not None:
            outputs = outputs + self.bias
        return outputs.view(*inputs.shape[:-1], -1)


def check_quantization(kind: str, device: str) -> None:
    """Check that a quantization is available, before a model is loaded.

    Raises:
        InputError: the kind is unknown, or for another device.
        ImportError: its library is not installed.
    """
    if kind not in ("int8", "4bit"):
        raise InputError(f"quantize {kind!r}", "is unknown", "choose int8 or 4bit")
    if kind == "int8" and device != "cpu":
        fix = "pass --device cpu, or --quantize 4bit"
        raise InputError("quantize 'int8'", f"needs a CPU, and the device is {device}", fix)
    if kind == "4bit" and not device.startswith("cuda"):
        fix = "pass --quantize int8, or leave it out"
        raise InputError("quantize '4bit'", f"needs a CUDA device, and the device is {device}", fix)
    if kind == "4bit" and find_spec("bitsandbytes") is None:
        raise ImportError('--quantize 4bit needs bitsandbytes; pip install "mser-llm[quantization]"')


def four_bit_loading(device: str) -> dict[str, Any]:
    """Return the arguments of `from_pretrained` that load the language model in 4 bits (NF4), computed in bfloat16."""
    from transformers import BitsAndBytesConfig

    weights = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16)
    return {"quantization_config": weights, "device_map": {"": device}}


def quantize_to_int8(model: Any) -> None:
    """Quantize the linear layers of encoder and language model to int8, in place.

    The Q-Former, adapters and the output layer keep their precision: the first two are small, and the last one decides
    the scores.
    """
    for part in (model.audio_tower, model.language_model):
        if part is not None:
            replace_linear_layers(part, Int8Linear, lambda name, _: not is_lora(name) and name != "lm_head")
