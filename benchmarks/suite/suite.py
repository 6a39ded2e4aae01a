# SPDX-License-Identifier: Apache-2.0
"""Run all comparisons of the benchmark."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from benchmarks.suite.epoch_comparison import epochs
from benchmarks.suite.int8_comparison import int8
from benchmarks.suite.limit import limit
from benchmarks.suite.memory import memory
from benchmarks.suite.naive_comparison import against_naive
from benchmarks.suite.paper_size import paper_size
from benchmarks.suite.peer_comparison import against_peers
from benchmarks.suite.rounds import Comparison
from benchmarks.suite.scaling import Curve, curves
from benchmarks.suite.sizes import BenchmarkSizes
from benchmarks.suite.systems import OwnModel, build_own_model, build_packed_model
from benchmarks.suite.training_comparison import training_step
from benchmarks.suite.word_scoring import word_scoring
from mser_llm.training.arguments import ModelArguments
from mser_llm.training.training_arguments import MSERTrainingArguments


@dataclass
class Findings:
    """Measurements so far."""

    comparisons: list[Comparison] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)


PARTS = ("limit", "words", "naive", "int8", "peers", "training", "epoch", "scaling", "memory")


def run_suite(
    sizes: BenchmarkSizes,
    recipe: tuple[ModelArguments, MSERTrainingArguments],
    found: Findings,
    parts: Collection[str] = PARTS,
) -> Iterator[Comparison]:
    """
    Run the comparisons and yield each as soon as it is measured.

    Args:
        sizes: of the models and the measurements.
        recipe: its epoch is measured.
        found: collects the results.
        parts: subset of `PARTS` to run.

    Raises:
        ValueError: a part is unknown.
    """
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        raise ValueError(f"--parts {unknown[0]}: unknown; choose from {', '.join(PARTS)}")
    return _run(sizes, recipe, found, parts)


def _run(
    sizes: BenchmarkSizes,
    recipe: tuple[ModelArguments, MSERTrainingArguments],
    found: Findings,
    parts: Collection[str],
) -> Iterator[Comparison]:
    plain, own = build_own_model(sizes), build_packed_model(sizes)
    measured: dict[str, Callable[[], Iterator[Comparison]]] = {
        "limit": lambda: limit(sizes, own),
        "words": lambda: word_scoring(sizes, own),
        "naive": lambda: against_naive(sizes, own, plain),
        "int8": lambda: int8(sizes, own),
        "peers": lambda: against_peers(sizes, own, plain),
        "training": lambda: training_step(sizes, plain),
        "epoch": lambda: epochs(sizes, *recipe),
        "scaling": lambda: _curves(sizes, own, found),
        "memory": lambda: memory(sizes),
    }
    for part in PARTS:
        if part in parts:
            for comparison in measured[part]():
                found.comparisons.append(comparison)
                yield comparison


def measure_paper_size(arguments: ModelArguments, device: str, found: Findings) -> Iterator[Comparison]:
    """Measure the paper-size model on an accelerator, instead of all parts."""
    for comparison in paper_size(arguments, device):
        found.comparisons.append(comparison)
        yield comparison


def _curves(sizes: BenchmarkSizes, own: OwnModel, found: Findings) -> Iterator[Comparison]:
    for curve in curves(sizes, own):
        found.curves.append(curve)
        yield curve.comparison


__all__ = ["PARTS", "Findings", "measure_paper_size", "run_suite"]
