# SPDX-License-Identifier: Apache-2.0
"""Recognition in int8 beside float32 with packed weights; what it costs in accuracy needs a trained model."""

from collections.abc import Iterator

import torch

from benchmarks.suite.rounds import Comparison, alternate, clips_per_second
from benchmarks.suite.sizes import BenchmarkSizes
from benchmarks.suite.systems import OwnModel, build_own_model, own_system
from mser_llm.inference.packing import pack_linear_layers
from mser_llm.inference.quantization import quantize_to_int8


@torch.inference_mode()
def int8(sizes: BenchmarkSizes, own: OwnModel) -> Iterator[Comparison]:
    """The model as `load_model(..., quantize="int8")` gives it beside the model as `load_model` gives it."""
    quantised = build_own_model(sizes)
    quantize_to_int8(quantised.model)
    pack_linear_layers(quantised.model)
    inputs = own.inputs(sizes.target_seconds, sizes.batch_size)
    exact, fewer_bits = own_system(sizes, own), own_system(sizes, quantised)
    taken = alternate(
        {"int8": lambda: fewer_bits.answer(inputs), "float32": lambda: exact.answer(inputs)}, sizes.rounds, "int8"
    )
    place = f"{sizes.target_seconds:g} s, batch {sizes.batch_size}"
    yield clips_per_second(f"int8 beside float32, {place}", sizes.batch_size, taken["int8"], taken["float32"])


__all__ = ["int8"]
