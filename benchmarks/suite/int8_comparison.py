# SPDX-License-Identifier: Apache-2.0
"""Compare recognition in int8 with float32, both with packed weights."""

from collections.abc import Iterator

import torch

from benchmarks.suite.rounds import Comparison, alternate, clips_per_second
from benchmarks.suite.sizes import BenchmarkSizes
from benchmarks.suite.systems import OwnModel, build_own_model, own_system
from mser_llm.inference.packing import pack_linear_layers
from mser_llm.inference.quantization import quantize_to_int8


@torch.inference_mode()
def int8(sizes: BenchmarkSizes, own: OwnModel) -> Iterator[Comparison]:
    """Compare `load_model(..., quantize="int8")` with `load_model(...)`."""
    quantized = build_own_model(sizes)
    quantize_to_int8(quantized.model)
    pack_linear_layers(quantized.model)
    inputs = own.inputs(sizes.target_seconds, sizes.batch_size)
    full, int8_system = own_system(sizes, own), own_system(sizes, quantized)
    taken = alternate(
        {"int8": lambda: int8_system.predict(inputs), "float32": lambda: full.predict(inputs)}, sizes.rounds, "int8"
    )
    place = f"{sizes.target_seconds:g} s, batch {sizes.batch_size}"
    yield clips_per_second(f"int8 compared with float32, {place}", sizes.batch_size, taken["int8"], taken["float32"])


__all__ = ["int8"]
