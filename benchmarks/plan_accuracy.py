# SPDX-License-Identifier: Apache-2.0
"""What `run-mser plan` says of a training's memory and time, beside what a real training of a few steps takes.

    python benchmarks/plan_accuracy.py
    MSER_CORPORA=/data/corpora python benchmarks/plan_accuracy.py --output runs/plan_accuracy.json

The recipe base/joint is trained as it is and with a language model of other sizes and batches, on noise or, where
MSER_CORPORA is set, on its corpus `ravdess`; with MSER_BACKBONES the encoder is the real one, else random weights of
its size. Each training is a process of its own.

Memory is what the process holds beside Python, the libraries and mapped files, at the worst (RssAnon, looked at every
3 ms), with an allocator that gives freed memory back at once. By default the C library keeps some, which varies from
run to run; both are told. Time is the mean of steps against the speed of the machine measured between them, so that
whatever else it does falls on both.
"""

import csv
import multiprocessing
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
import yaml
from transformers import WhisperConfig, WhisperFeatureExtractor

from modeling_mser import MaskedWhisperEncoder
from mser_llm.cli.parser import MSERArgumentParser
from mser_llm.cli.recipes import find_recipe
from mser_llm.cli.train import ARGUMENTS, run
from mser_llm.io.atomic_files import write_json
from mser_llm.training.planning.machines import Machine, this_machine
from mser_llm.training.planning.meta_model import build_skeleton
from mser_llm.training.planning.plan import Clips, make_plan
from mser_llm.training.trainer import MSERTrainer
from processing_mser import label_set


WHISPER_BASE = {"d_model": 512, "encoder_layers": 6, "encoder_attention_heads": 8, "encoder_ffn_dim": 2048}
# By name: the batch, and sizes of the language model that are not the recipe's.
SETTINGS = {
    "base/joint": (16, {}),
    "base/joint, batch 48": (48, {}),
    "language model of 30 M, batch 16": (16, {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 7}),
}
NOISE_CLIPS = 192
MEASURE_EVERY = 4  # steps


@dataclass
class AccuracyArguments:
    settings: list[str] = field(default_factory=lambda: list(SETTINGS), metadata={"help": "which trainings"})
    steps: int = field(default=24, metadata={"help": "of each training, the first four to warm up"})
    seconds: float = field(default=3.0, metadata={"help": "of each clip of noise"})
    threads: int = field(default=1, metadata={"help": "of torch"})
    output: str | None = field(default=None, metadata={"help": "JSON file for the figures"})

    def __post_init__(self) -> None:
        for name in self.settings:
            if name not in SETTINGS:
                raise ValueError(f"settings: {name!r} is none of {', '.join(map(repr, SETTINGS))}")
        if self.steps < 12:
            raise ValueError(f"steps is {self.steps}; give at least 12")


def benchmark(arguments: AccuracyArguments, folder: Path) -> list[dict[str, Any]]:
    """A row for each training: memory and seconds of a step, planned and measured, and their ratios."""
    corpus = _corpus(arguments, folder)
    rows = []
    for name in arguments.settings:
        recipe = _recipe(name, folder)
        lean = _in_a_process(recipe, corpus, folder, arguments, returns_memory=True)
        usual = _in_a_process(recipe, corpus, folder, arguments, returns_memory=False)
        planned = _plan(recipe, usual)
        rows.append(
            {
                "name": name,
                "planned_mb": planned["memory"] / 1e6,
                "measured_mb": lean["memory"] / 1e6,
                "memory_ratio": planned["memory"] / lean["memory"],
                "resident_mb_as_the_allocator_keeps_it": usual["memory"] / 1e6,
                "planned_seconds": planned["seconds"],
                "measured_seconds": usual["seconds"],
                "time_ratio": planned["seconds"] / usual["seconds"],
                "machine": usual["machine"],
                "load": os.getloadavg()[0],
            }
        )
        print(_line(rows[-1]), flush=True)
    return rows


def _line(row: dict[str, Any]) -> str:
    return (
        f"{row['name']:<34} memory {row['planned_mb']:6.0f} MB planned, {row['measured_mb']:6.0f} measured "
        f"({row['memory_ratio']:.2f}; kept {row['resident_mb_as_the_allocator_keeps_it']:.0f})   step "
        f"{row['planned_seconds']:.3f} s planned, {row['measured_seconds']:.3f} measured ({row['time_ratio']:.2f})"
    )


def _recipe(name: str, folder: Path) -> Path:
    batch, text = SETTINGS[name]
    recipe = yaml.safe_load(find_recipe("base/joint").read_text(encoding="utf-8"))
    recipe["per_device_train_batch_size"] = batch
    recipe["text_config"] |= text
    if not os.environ.get("MSER_BACKBONES"):
        recipe["audio_backbone"] = str(_random_encoder(folder))
    path = folder / f"{len(list(folder.glob('*.yaml')))}.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return path


def _random_encoder(folder: Path) -> Path:
    place = folder / "whisper-base-encoder"
    if not place.exists():
        torch.manual_seed(0)
        # In half precision, as such encoders are handed on: loading then makes weights of its own and maps no file.
        MaskedWhisperEncoder(WhisperConfig(**WHISPER_BASE)).half().save_pretrained(place)
        WhisperFeatureExtractor(feature_size=80).save_pretrained(place)
    return place


def _corpus(arguments: AccuracyArguments, folder: Path) -> str:
    corpora = os.environ.get("MSER_CORPORA")
    if corpora:
        return f"ravdess={Path(corpora) / 'ravdess'}"
    random = np.random.default_rng(0)
    place = folder / "noise"
    place.mkdir()
    with (place / "index.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "emotion", "speaker", "language"])
        for number in range(NOISE_CLIPS):
            # As loud as speech, and changing as syllables do.
            length = round(arguments.seconds * 16000)
            loudness = 0.1 * (1.2 + np.sin(2 * np.pi * 4 * np.arange(length) / 16000))
            soundfile.write(place / f"{number}.wav", loudness * random.standard_normal(length), 16000)
            emotion = ("neutral", "happy", "sad", "angry")[number % 4]
            writer.writerow([f"{number}.wav", emotion, f"s{number // 4 % 6}", "en"])
    return f"folder={place}"


def _flags(recipe: Path, corpus: str, folder: Path, arguments: AccuracyArguments, run_folder: str) -> list[str]:
    return [
        *(str(recipe), "--corpora", corpus, "--max_steps", str(arguments.steps), "--disable_tqdm", "true"),
        *("--output_dir", str(folder / run_folder), "--cache_dir", str(folder / "cache"), "--no_resume"),
        *(
            "--save_strategy",
            "no",
            "--eval_strategy",
            "no",
            "--load_best_model_at_end",
            "false",
            "--logging_steps",
            "99",
        ),
    ]


def _in_a_process(
    recipe: Path, corpus: str, folder: Path, arguments: AccuracyArguments, returns_memory: bool
) -> dict[str, Any]:
    """Measured in a process of its own, which prints nothing."""
    name = "MALLOC_MMAP_THRESHOLD_"
    before = os.environ.get(name)
    if returns_memory:
        os.environ[name] = "131072"
    try:
        context = multiprocessing.get_context("spawn")
        receiving, sending = context.Pipe(duplex=False)
        words = _flags(recipe, corpus, folder, arguments, f"run-{recipe.stem}")
        process = context.Process(target=_measured, args=(words, arguments.threads, sending))
        process.start()
        sending.close()
        figures = receiving.recv()
        process.join()
        return figures
    except EOFError:
        raise ValueError("the training that was to be measured ended before its figures; its error is above") from None
    finally:
        os.environ.pop(name, None)
        if before is not None:
            os.environ[name] = before


def _measured(words: list[str], threads: int, answer: Any) -> None:
    """Trains, and sends the worst memory in bytes, the mean seconds of a step and what it ran on."""
    torch.set_num_threads(threads)
    warm = torch.randn(64, 64, requires_grad=True)
    (warm @ warm).sum().backward()
    watch = _Watch()
    watch.install()
    command, *sections = MSERArgumentParser(ARGUMENTS).parse_args_into_dataclasses(words)
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for the rest of this process
    before = _anonymous()
    stop = threading.Event()
    worst = [0]

    def look() -> None:
        while not stop.wait(0.003):
            worst[0] = max(worst[0], _anonymous())

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    run(command, *sections)
    stop.set()
    looking.join()
    # Rates by their harmonic mean, as times are added up.
    machine = {
        name: statistics.harmonic_mean([getattr(one, name) for one in watch.machines])
        for name in ("half_flops", "full_flops", "bandwidth")
    } | {"overhead": statistics.mean(one.overhead for one in watch.machines)}
    answer.send(
        {
            "memory": worst[0] - before,
            "seconds": statistics.mean(watch.seconds[4:]),
            "machine": machine,
            "clips": [clip.seconds for clip in watch.clips],
        }
    )
    answer.close()


class _Watch:
    """Takes the time from one step to the next, and the machine's speed between some of them."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.machines: list[Machine] = []
        self.clips: Sequence[Any] = ()
        self.last: float | None = None

    def install(self) -> None:
        watch, step = self, MSERTrainer.training_step

        def training_step(trainer: Any, *args: Any, **kwargs: Any) -> Any:
            now = time.perf_counter()
            if watch.last is not None:
                watch.seconds.append(now - watch.last)
            watch.clips = trainer.train_dataset.clips
            if len(watch.seconds) % MEASURE_EVERY == 0:
                watch.machines.append(this_machine(seconds=0.4))
            watch.last = time.perf_counter()
            return step(trainer, *args, **kwargs)

        MSERTrainer.training_step = training_step  # type: ignore[method-assign, assignment]


def _anonymous() -> int:
    """Bytes of this process's own memory, mapped files left out."""
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("RssAnon"))


def _plan(recipe: Path, measured: dict[str, Any]) -> dict[str, float]:
    _, model, data, training = MSERArgumentParser(ARGUMENTS).parse_args_into_dataclasses([str(recipe)])
    seconds = measured["clips"]
    clips = Clips(len(seconds), statistics.mean(seconds), max(seconds))
    speed = Machine("cpu", memory=0, overlaps=False, **measured["machine"])
    skeleton = build_skeleton(model, label_set(data.labels).words)
    plan = make_plan(skeleton, data, training, clips, speed)
    return {"memory": plan.peak_memory, "seconds": plan.step_seconds}


def main(words: Sequence[str] | None = None) -> int:
    parser = MSERArgumentParser(AccuracyArguments, description="A plan's memory and time beside a real training's.")
    (arguments,) = parser.parse_args_into_dataclasses(words)
    try:
        with tempfile.TemporaryDirectory(prefix="plan-accuracy-") as folder:
            rows = benchmark(arguments, Path(folder))
    except (ValueError, OSError) as error:
        parser.error(str(error))
    if arguments.output:
        write_json(arguments.output, {"arguments": asdict(arguments), "rows": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
