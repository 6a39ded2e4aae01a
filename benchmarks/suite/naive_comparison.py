# SPDX-License-Identifier: Apache-2.0
"""MSER's own path beside its naive form, whole and with one habit of it at a time."""

from collections.abc import Iterator

import torch

from benchmarks.suite.rounds import Comparison, Work, alternate, clips_per_second
from benchmarks.suite.sizes import BenchmarkSizes
from benchmarks.suite.systems import OwnModel, answer_tokens, generated, naive_system, own_system


@torch.inference_mode()
def against_naive(sizes: BenchmarkSizes, own: OwnModel, plain: OwnModel) -> Iterator[Comparison]:
    """
    30 s of padding, weights not packed, `generate` in place of scoring, and logits at every position: together, then
    each alone.

    Args:
        sizes: of the measurement.
        own: the model with packed weights.
        plain: the same without.
    """
    ours, naive = own_system(sizes, own), naive_system(sizes, plain)
    batch_size, seconds = sizes.batch_size, sizes.target_seconds
    inputs, padded = ours.inputs(seconds, batch_size), naive.inputs(seconds, batch_size)
    new_tokens = answer_tokens(own.candidates(7))
    habits: dict[str, Work] = {
        "whole": lambda: naive.answer(padded),
        "30 s padding alone": lambda: ours.answer(padded),
        "weights not packed alone": lambda: own_system(sizes, plain).answer(inputs),
        "generate alone": lambda: generated(own.model, inputs, new_tokens),
        "generate with all logits": lambda: generated(own.model, inputs, new_tokens, logits_to_keep=0),
    }
    taken = alternate({"ours": lambda: ours.answer(inputs), **habits}, sizes.slow_rounds, "Naive path")
    for habit in habits:
        target = ">= 8" if habit == "whole" else ""
        name = f"naive path, {habit}, {seconds:g} s, batch {batch_size}"
        yield clips_per_second(name, batch_size, taken["ours"], taken[habit], target)


__all__ = ["against_naive"]
