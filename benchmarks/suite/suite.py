# SPDX-License-Identifier: Apache-2.0
"""Run all comparisons of the benchmark."""

from collections.abc import Collection, Iterator

from benchmarks.suite.comparisons import against_naive, against_peers, int8, training_step
from benchmarks.suite.epoch_comparison import epochs
from benchmarks.suite.limit import limit
from benchmarks.suite.memory import memory
from benchmarks.suite.rounds import Comparison
from benchmarks.suite.scaling import Curve, curves
from benchmarks.suite.sizes import BenchmarkSizes
from benchmarks.suite.systems import build_own_model, build_packed_model
from benchmarks.suite.word_scoring import word_scoring
from mser_llm.training.arguments import ModelArguments
from mser_llm.training.training_arguments import MSERTrainingArguments


PARTS = ("limit", "words", "naive", "int8", "peers", "training", "epoch", "scaling", "memory")


def run_suite(
    sizes: BenchmarkSizes,
    recipe: tuple[ModelArguments, MSERTrainingArguments],
    parts: Collection[str] = PARTS,
) -> Iterator[Comparison | Curve]:
    """Run the comparisons and yield each as soon as it is measured; the part `scaling` yields curves."""
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        raise ValueError(f"--parts {unknown[0]}: unknown; choose from {', '.join(PARTS)}")
    plain, own = build_own_model(sizes), build_packed_model(sizes)
    # Generators: a part is measured only when it is iterated.
    measured: dict[str, Iterator[Comparison] | Iterator[Curve]] = {
        "limit": limit(sizes, own),
        "words": word_scoring(sizes, own),
        "naive": against_naive(sizes, own, plain),
        "int8": int8(sizes, own),
        "peers": against_peers(sizes, own, plain),
        "training": training_step(sizes, plain),
        "epoch": epochs(sizes, *recipe),
        "scaling": curves(sizes, own),
        "memory": memory(sizes),
    }
    for part in PARTS:
        if part in parts:
            yield from measured[part]
