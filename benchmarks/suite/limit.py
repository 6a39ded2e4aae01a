# SPDX-License-Identifier: Apache-2.0
"""Compare recognition with the matrix-multiply rate of the machine, and measure the cost of reading audio."""

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import soundfile
import torch

from benchmarks.suite.flops import MatrixShape, recognition_flops, weight_shapes
from benchmarks.suite.rounds import Comparison, Work, alternate
from benchmarks.suite.sizes import WORDS, BenchmarkSizes
from benchmarks.suite.systems import OwnModel, noise
from mser_llm.inference.packing import PackedLinear, can_pack
from mser_llm.inference.recognition import recognize
from processing_mser import load_audio


FILE_RATE = 48_000


@torch.inference_mode()
def limit(sizes: BenchmarkSizes, own: OwnModel) -> Iterator[Comparison]:
    """
    Compare the operations/s of recognition, from tensors to scores, with those of matrix products of the same shapes
    alone: torch's own or those of packed weights, whichever are faster on this machine.
    """
    words = own.candidates(7)
    seconds, batch_size = sizes.target_seconds, sizes.batch_size
    inputs = own.inputs(seconds, batch_size)
    shapes = weight_shapes(own, seconds, batch_size, words)
    plain = [torch.nn.Linear(shape.inner, shape.columns, bias=False) for shape in shapes]
    works: dict[str, Work] = {
        "recognition": lambda: own.model.score_emotions(**inputs, candidate_ids=words),
        "products": _products(shapes, plain),
    }
    if can_pack():
        works["packed products"] = _products(shapes, [PackedLinear(layer) for layer in plain])
    taken = alternate(works, 2 * sizes.rounds, "Limit")
    rates = {name: statistics.median(each) for name, each in taken.items() if name != "recognition"}
    fastest = min(rates, key=lambda name: rates[name])
    flops = recognition_flops(own, seconds, words)
    multiplied = sum(shape.flops for shape in shapes)
    yield Comparison(
        f"share of the limit, {seconds:g} s, batch {batch_size}",
        [batch_size * sum(flops.values()) / taken_ / 1e9 for taken_ in taken["recognition"]],
        [multiplied / taken_ / 1e9 for taken_ in taken[fastest]],
        "GFLOP/s",
        "share",
        ">= 0.55",
        {"gflop_per_clip": {part: count / 1e9 for part, count in flops.items()}, "limit": fastest},
    )
    if "packed products" in taken:
        sides = [[multiplied / each / 1e9 for each in taken[name]] for name in ("packed products", "products")]
        yield Comparison("matrix products, packed weights compared with torch's own", *sides, "GFLOP/s", "more")
    yield from _reading(sizes, own)


def _products(shapes: Sequence[MatrixShape], layers: Sequence[torch.nn.Module]) -> Work:
    """A function that computes all products of the shapes, each with its layer."""
    inputs = [torch.randn(shape.rows, shape.inner) for shape in shapes]

    def multiply() -> None:
        for shape, rows, layer in zip(shapes, inputs, layers, strict=True):
            for _ in range(shape.count):
                layer(rows)

    return multiply


def _reading(sizes: BenchmarkSizes, own: OwnModel) -> Iterator[Comparison]:
    """Measure the shares of reading with resampling and of the log-mel spectrogram in recognition from files."""
    count = sizes.batch_size
    with TemporaryDirectory() as folder:
        files = [Path(folder) / f"{number}.wav" for number in range(count)]
        for file, waveform in zip(files, noise(sizes.target_seconds, count, sampling_rate=FILE_RATE), strict=True):
            soundfile.write(file, waveform, FILE_RATE)
        waveforms = [load_audio(file) for file in files]

        def total() -> None:
            assert all(answer.error is None for answer in recognize(own.model, own.processor, files, WORDS[:7]))

        taken = alternate(
            {
                "reading": lambda: [load_audio(file) for file in files],
                "features": lambda: own.processor.extract_features(waveforms),
                "total": total,
            },
            sizes.rounds,
            "Reading",
        )
    parts = {name: [1e3 * seconds / count for seconds in each] for name, each in taken.items()}
    where = f"of recognition from {FILE_RATE // 1000} kHz files"
    yield Comparison(f"reading and resampling, {where}", parts["reading"], parts["total"], "ms per clip", "share")
    yield Comparison(f"log-mel spectrogram, {where}", parts["features"], parts["total"], "ms per clip", "share")
