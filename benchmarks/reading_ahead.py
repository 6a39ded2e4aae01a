# SPDX-License-Identifier: Apache-2.0
"""Measure the speed-up of prefetching: files are decoded and resampled while the network works.

    python benchmarks/reading_ahead.py

Files are noise in FLAC, Ogg Vorbis or WAV at 44.1 kHz; the network is replaced by matrix products that take about as
long as a small model. Prefetching and reading in sequence take turns in one run.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch

from mser_llm.cli.dataclass_arguments import option
from mser_llm.cli.parser import MSERArgumentParser
from mser_llm.inference.prefetch import LoadedClip, load_ahead, load_clip


@dataclass
class ReadingArguments:
    files: int = option(128, "number of files per format")
    seconds: float = option(3.0, "length of a file")
    milliseconds: float = option(10.0, "time of the network per clip")
    repeats: int = option(3, "rounds")


def windows_in_sequence(paths: Sequence[Path], size: int) -> Iterable[list[LoadedClip]]:
    for start in range(0, len(paths), size):
        yield [load_clip(path) for path in paths[start : start + size]]


def main(words: Sequence[str] | None = None) -> int:
    parser = MSERArgumentParser(ReadingArguments, description="Prefetching compared with reading in sequence.")
    (arguments,) = parser.parse_args_into_dataclasses(words)
    torch.set_num_threads(1)
    matrix = torch.randn(512, 512)
    random = np.random.default_rng(0)
    for name, kind in (("flac", "FLAC"), ("ogg", "OGG"), ("wav", "WAV")):
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder) / f"{index}.{name}" for index in range(arguments.files)]
            for path in paths:
                noise = 0.1 * random.standard_normal(int(44_100 * arguments.seconds))
                soundfile.write(path, noise, 44_100, format=kind)
            ratios = []
            for _ in range(arguments.repeats):
                took = []
                for windows in (windows_in_sequence(paths, 32), load_ahead(paths, 32)):
                    start = time.perf_counter()
                    for window in windows:
                        until = time.thread_time() + len(window) * arguments.milliseconds / 1000
                        while time.thread_time() < until:
                            matrix @ matrix
                    took.append(time.perf_counter() - start)
                ratios.append(took[0] / took[1])
        low, high = min(ratios), max(ratios)
        print(f"{name}: speed-up of prefetching {statistics.median(ratios):.2f} ({low:.2f} to {high:.2f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
