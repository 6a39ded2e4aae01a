# SPDX-License-Identifier: Apache-2.0
"""Measure how an M5SER build scales: clips/s with one worker and with two, peak memory with 1x and 10x rows.

    python benchmarks/m5ser_scaling.py --output runs/m5ser_scaling.json
    python benchmarks/m5ser_scaling.py --rows 28 --clips_to_translate 28 --repeats 1

Speed: the espeak translator on the demonstration's English speech; builds with one worker on one processor and with
two workers on two processors alternate. The clips are a few recordings with many ids, because a worker measures the
neutral rendering of each sentence only once. The time of a build runs from its first finished clip to its last, so
starting processes and listing files do not count. Between the builds the translator does the same work without a
build, in one process and in two independent ones: this is the upper bound for two workers on this machine. The speed
of a shared machine changes from minute to minute, so the result is the median ratio of adjacent builds.

Memory: rows that cost nothing to translate, in one shard; the peak of the largest process and of all processes. On a
busy machine the speeds mean nothing.
"""

import multiprocessing
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import soundfile

from mser_llm.cli.parser import MSERArgumentParser
from mser_llm.data.schema import new_row
from mser_llm.data.synthesis.demo_speech import write_demo_speech
from mser_llm.data.translator import SourceClip, build_translator
from mser_llm.io.atomic_files import write_json
from mser_llm.m5ser.build import build
from mser_llm.m5ser.build_config import BuildConfig
from processing_mser import load_audio


# The module next to this file, whose folder is on the path of a script.
ECHO = "m5ser_echo:Echo"
RECORDINGS = 8


@dataclass
class ScalingArguments:
    clips_to_translate: int = field(default=280, metadata={"help": "English clips of the timed builds"})
    languages: list[str] = field(
        default_factory=lambda: ["fr", "de"], metadata={"help": "target languages of the timed builds"}
    )
    repeats: int = field(default=7, metadata={"help": "number of builds with one worker, and with two"})
    rows: int = field(default=200, metadata={"help": "rows of the smaller of the two builds whose memory is measured"})
    output: str | None = field(default=None, metadata={"help": "JSON file for the results"})

    def __post_init__(self) -> None:
        for name in ("clips_to_translate", "repeats", "rows"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; pass at least 1")


def benchmark(arguments: ScalingArguments) -> dict[str, Any]:
    """Measure speed and memory."""
    with tempfile.TemporaryDirectory(prefix="m5ser_scaling_") as name:
        folder = Path(name)
        return {
            "speed": speed(arguments, folder),
            "memory": memory(arguments, folder),
            "arguments": asdict(arguments),
            "processors": len(os.sched_getaffinity(0)),
        }


def speed(arguments: ScalingArguments, folder: Path) -> dict[str, Any]:
    """Clips/s with one worker and with two, their ratio, and the ratio of independent processes."""
    recordings = write_demo_speech(folder / "speech", languages=["en"], clips_per_language=RECORDINGS, seed=0)
    rows = [
        {**recordings[i % RECORDINGS], "id": f"{recordings[i % RECORDINGS]['id']}-{i // RECORDINGS}"}
        for i in range(arguments.clips_to_translate)
    ]
    rates: dict[int, list[float]] = {1: [], 2: []}
    alone: dict[int, list[float]] = {1: [], 2: []}
    for repeat in range(arguments.repeats):
        for workers in rates:
            output = folder / f"speed-{repeat}-{workers}"
            config = BuildConfig(
                output_dir=str(output),
                languages=arguments.languages,
                include_source=False,
                min_kilobytes=["default=0"],
                shards_per_language=16,
                workers=workers,
            )
            clock = Clock(output)
            with processors(workers), polling(clock.look):
                build(config, rows)
            rates[workers].append(clock.clips_per_second())
            shutil.rmtree(output)
        for count in alone:
            with processors(count):
                alone[count].append(translators_alone(recordings, arguments, count))
    return {
        **gain(rates, {1: "1 worker", 2: "2 workers"}),
        "translator_alone": gain(alone, {1: "1 process", 2: "2 processes"}),
    }


def gain(rates: Mapping[int, Sequence[float]], names: Mapping[int, str]) -> dict[str, Any]:
    """Median rates of one and of two, and the median, minimum and maximum ratio of a round."""
    ratios = [two / one for one, two in zip(rates[1], rates[2], strict=True)]
    return {
        "clips_per_second": {names[count]: statistics.median(values) for count, values in rates.items()},
        "ratio": statistics.median(ratios),
        "min_and_max_ratio": [min(ratios), max(ratios)],
        "rounds": {names[count]: values for count, values in rates.items()},
    }


def translators_alone(recordings: Sequence[Mapping[str, Any]], arguments: ScalingArguments, processes: int) -> float:
    """Clips/s of several translators at once, each in its own process and on its own processor."""
    context = multiprocessing.get_context("spawn")
    begin, rates = context.Barrier(processes), context.SimpleQueue()
    allowed = sorted(os.sched_getaffinity(0))
    work = (list(recordings), arguments.languages, max(1, arguments.clips_to_translate // 4), begin, rates)
    running = [context.Process(target=translate_alone, args=(allowed[i], *work)) for i in range(processes)]
    for process in running:
        process.start()
    for process in running:
        process.join()
        if process.exitcode:
            raise OSError(f"a translator ended with status {process.exitcode}; see its output above")
    return sum(rates.get() for _ in running)


def translate_alone(
    processor: int, recordings: list[dict[str, Any]], languages: list[str], count: int, begin: Any, rates: Any
) -> None:
    """Translate every recording once, then time `count` translations per language."""
    os.sched_setaffinity(0, {processor})
    translator = build_translator("espeak", {})
    fields = ("id", "language", "transcript", "speaker", "gender")
    clips = [
        SourceClip(
            waveform=load_audio(row["audio"]["path"]),
            source_corpus=row["corpus"],
            **{name: row[name] for name in fields},
        )
        for row in recordings
    ]
    for language in languages:
        translator.translate(clips, language)
    begin.wait()
    start = time.perf_counter()
    for language in languages:
        for index in range(count):
            translator.translate([clips[index % len(clips)]], language)
    rates.put(count * len(languages) / (time.perf_counter() - start))
    translator.close()


@contextmanager
def processors(count: int) -> Iterator[None]:
    """Limit what is started in the block to `count` processors; Praat would use all of them."""
    allowed = os.sched_getaffinity(0)
    if len(allowed) < count:
        raise OSError(f"{count} workers need {count} processors; this machine has {len(allowed)}")
    os.sched_setaffinity(0, sorted(allowed)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def memory(arguments: ScalingArguments, folder: Path) -> dict[str, Any]:
    """Peak resident memory in MB with `rows` rows and with ten times as many."""
    peaks = {}
    for factor in (1, 10):
        rows = echo_rows(folder / "clips", arguments.rows * factor)
        output = folder / f"memory-{factor}"
        config = BuildConfig(output_dir=str(output), languages=["fr"], translator=ECHO, min_kilobytes=["default=0"])
        peaks[factor] = MemoryPeak()
        with polling(peaks[factor].look):
            build(config, rows)
        shutil.rmtree(output)
    return {
        "rows": {"1x": arguments.rows, "10x": 10 * arguments.rows},
        "peak_mb_of_the_largest_process": {f"{factor}x": peak.largest / 1e6 for factor, peak in peaks.items()},
        "peak_mb_of_all_processes": {f"{factor}x": peak.total / 1e6 for factor, peak in peaks.items()},
        "ratio": peaks[10].total / peaks[1].total,
    }


def echo_rows(folder: Path, count: int) -> list[dict[str, Any]]:
    """Rows over a hundred recordings of 3 s, each with several ids."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{i}.flac" for i in range(100)]
    for i, path in enumerate(paths):
        if not path.exists():
            noise = 0.1 * np.random.default_rng(i).standard_normal(48_000)
            soundfile.write(path, noise, 16_000)
    return [
        new_row(id=f"c{i}", path=paths[i % len(paths)], corpus="mead", emotion="sad", language="en", speaker="mead-1")
        for i in range(count)
    ]


@contextmanager
def polling(look: Callable[[], None]) -> Iterator[None]:
    """Call a function every 0.1 s while the block runs, and once more at its end."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        look()


class Clock:
    """Record when clips were finished, from the progress files of the workers."""

    def __init__(self, output: Path):
        self.output = output
        self.seen: list[tuple[float, int]] = []

    def look(self) -> None:
        done = sum(int(path.read_bytes() or 0) for path in self.output.glob("logs/*/progress/*"))
        if not self.seen or done > self.seen[-1][1]:
            self.seen.append((time.perf_counter(), done))

    def clips_per_second(self) -> float:
        """Rate from the first finished clips to the last."""
        started = [(moment, done) for moment, done in self.seen if done > 0]
        (begin, first), (end, last) = started[0], started[-1]
        return (last - first) / (end - begin)


class MemoryPeak:
    """Peak proportional memory (PSS) in bytes of this process and its children: of the largest one, and of all."""

    def __init__(self) -> None:
        self.largest = self.total = 0

    def look(self) -> None:
        sizes = []
        for process in (own := psutil.Process(), *own.children(recursive=True)):
            with suppress(psutil.Error):  # of a process that has just ended
                sizes.append(process.memory_full_info().pss)
        self.largest, self.total = max(self.largest, *sizes), max(self.total, sum(sizes))


def main(words: Sequence[str] | None = None) -> int:
    parser = MSERArgumentParser(ScalingArguments, description="Speed by workers and memory by rows of a build.")
    (arguments,) = parser.parse_args_into_dataclasses(words)
    try:
        results = benchmark(arguments)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    rates, peaks = results["speed"]["clips_per_second"], results["memory"]["peak_mb_of_all_processes"]
    languages = len(arguments.languages)
    print(f"{results['processors']} processors, {arguments.clips_to_translate} clips into {languages} languages")
    print(f"1 worker   {rates['1 worker']:8.2f} clips/s")
    print(f"2 workers  {rates['2 workers']:8.2f} clips/s")
    for label, measured in (("ratio", results["speed"]), ("at most", results["speed"]["translator_alone"])):
        lowest, highest = measured["min_and_max_ratio"]
        print(f"{label:<10} {measured['ratio']:8.2f} ({lowest:.2f} to {highest:.2f} in {arguments.repeats} rounds)")
    print("           (independent translators)")
    for label, rows in results["memory"]["rows"].items():
        print(f"{label:<4} {rows:>6} rows  {peaks[label]:8.0f} MB peak, all processes")
    print(f"ratio      {results['memory']['ratio']:8.2f}")
    if arguments.output:
        write_json(arguments.output, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
