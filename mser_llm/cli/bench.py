# SPDX-License-Identifier: Apache-2.0
"""`run-mser bench`: measure speed and memory next to what a user would otherwise run. Needs a checkout.

run-mser bench --output_dir runs/bench
run-mser bench --quick
run-mser bench --parts limit words
run-mser bench --device cuda --output_dir runs/bench-cuda
"""

import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import mser_llm
from mser_llm.cli.dataclass_arguments import option
from mser_llm.cli.train import parse_training
from mser_llm.io.errors import InputError


EPOCH_RECIPE, PAPER_RECIPE = "base/joint", "paper/stage1"
HELP = (
    "Measure speed and memory next to Qwen2-Audio, Granite Speech and a naive implementation, in alternating rounds."
)


@dataclass
class BenchArguments:
    output_dir: str = option("runs/bench", "folder for numbers, table and picture")
    quick: bool = option(False, "use tiny models: shows that it runs, not how fast anything is")
    parts: list[str] = option([], "parts to run; by default all")
    device: Literal["cpu", "cuda"] = option(
        "cpu", "cuda measures the paper-size model in bfloat16 instead of all this"
    )
    page: str | None = option(None, "page in Markdown whose table, between its two markers, is replaced")


ARGUMENTS = BenchArguments


def run(args: BenchArguments) -> int:
    """Print each comparison as it is measured and write the report; return 0."""
    add_benchmarks_to_path(Path(mser_llm.__file__).parents[1])
    import torch

    from benchmarks.suite.paper_size import paper_size
    from benchmarks.suite.picture import draw
    from benchmarks.suite.report import around_table, machine, markdown, table, write_into_page, write_report
    from benchmarks.suite.rounds import Comparison
    from benchmarks.suite.scaling import Curve
    from benchmarks.suite.sizes import FULL, QUICK
    from benchmarks.suite.suite import PARTS, run_suite

    if args.device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda", "torch finds no CUDA device", "leave it out to measure on the CPU")
    if args.page is not None:
        if not Path(args.page).is_file():
            raise InputError(args.page, "no such file", "pass a page with the markers of the table as --page")
        around_table(Path(args.page))
    sizes = QUICK if args.quick else FULL
    about, output = machine(args.device), Path(args.output_dir)
    comparisons, curves = [], []
    measured: Iterator[Comparison | Curve]
    with TemporaryDirectory() as folder:
        if args.device == "cuda":
            measured = paper_size(_recipe(PAPER_RECIPE, folder)[0], args.device)
        else:
            measured = run_suite(sizes, _recipe(EPOCH_RECIPE, folder), args.parts or PARTS)
        for one in measured:
            curves += [one] if isinstance(one, Curve) else []
            comparisons.append(one.comparison if isinstance(one, Curve) else one)
            print(f"{comparisons[-1].name}: {comparisons[-1].summary['ratio']:.3g}", flush=True)
            write_report(output, comparisons, about, asdict(sizes))  # so that an interrupted run has a report
    draw(output / "bench.png", comparisons, curves)
    print(f"\n{table(comparisons)}\n\nThe results are in {output}")
    if args.page is not None:
        write_into_page(Path(args.page), markdown(comparisons, about))
    return 0


def add_benchmarks_to_path(root: Path) -> None:
    """Make `benchmarks` importable, which is part of a checkout and not installed."""
    if not (root / "benchmarks" / "suite").is_dir():
        raise InputError(
            "run-mser bench",
            "the benchmarks are not installed with the package",
            "clone the repository and call `python run_mser.py bench` in it",
        )
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))


def _recipe(name: str, folder: str) -> tuple[Any, Any]:
    """The model and training sections of a recipe, for one epoch without saving and evaluation."""
    changes = {
        "output_dir": folder,
        "num_train_epochs": "1",
        "save_strategy": "no",
        "eval_strategy": "no",
        "logging_strategy": "no",
        "load_best_model_at_end": "false",
        "disable_tqdm": "true",
        "use_cpu": "true",
    }
    flags = [word for flag, value in changes.items() for word in (f"--{flag}", value)]
    model, _, training = parse_training([name, *flags], prog="run-mser bench")
    return model, training
