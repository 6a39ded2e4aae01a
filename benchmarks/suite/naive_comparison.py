# SPDX-License-Identifier: Apache-2.0
"""Compare MSER with its naive implementation, and with one property of it at a time."""

from collections.abc import Iterator

import torch

from benchmarks.suite.rounds import Comparison, Work, alternate, clips_per_second
from benchmarks.suite.sizes import BenchmarkSizes
from benchmarks.suite.systems import OwnModel, generate, naive_system, num_answer_tokens, own_system


@torch.inference_mode()
def against_naive(sizes: BenchmarkSizes, own: OwnModel, plain: OwnModel) -> Iterator[Comparison]:
    """
    Measure 30 s of padding, unpacked weights, `generate` instead of scoring, and logits at every position: together,
    then one at a time.

    Args:
        sizes: of the measurement.
        own: the model with packed weights.
        plain: the same model without packed weights.
    """
    ours, naive = own_system(sizes, own), naive_system(sizes, plain)
    batch_size, seconds = sizes.batch_size, sizes.target_seconds
    inputs, padded = ours.inputs(seconds, batch_size), naive.inputs(seconds, batch_size)
    new_tokens = num_answer_tokens(own.candidates(7))
    variants: dict[str, Work] = {
        "all": lambda: naive.predict(padded),
        "only 30 s padding": lambda: ours.predict(padded),
        "only unpacked weights": lambda: own_system(sizes, plain).predict(inputs),
        "only generate": lambda: generate(own.model, inputs, new_tokens),
        "generate with all logits": lambda: generate(own.model, inputs, new_tokens, logits_to_keep=0),
    }
    taken = alternate({"ours": lambda: ours.predict(inputs), **variants}, sizes.slow_rounds, "Naive implementation")
    for variant in variants:
        target = ">= 8" if variant == "all" else ""
        name = f"naive implementation, {variant}, {seconds:g} s, batch {batch_size}"
        yield clips_per_second(name, batch_size, taken["ours"], taken[variant], target)


__all__ = ["against_naive"]
