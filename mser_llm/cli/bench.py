# SPDX-License-Identifier: Apache-2.0
"""`run-mser bench`: speed and memory beside what a user would otherwise run.

run-mser bench --output_dir runs/bench
run-mser bench --quick
run-mser bench --parts limit words
run-mser bench --device cuda --output_dir runs/bench-cuda
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal


EPOCH_RECIPE, PAPER_RECIPE = "base/joint", "paper/stage1"
HELP = "Measure speed and memory beside Qwen2-Audio, Granite Speech and the naive path, in alternating rounds."


@dataclass
class BenchArguments:
    output_dir: str = field(default="runs/bench", metadata={"help": "folder for the figures, table and picture"})
    quick: bool = field(
        default=False, metadata={"help": "models of a few thousand weights: whether it runs, not how fast anything is"}
    )
    parts: list[str] = field(default_factory=list, metadata={"help": "parts to run; by default all"})
    device: Literal["cpu", "cuda"] = field(
        default="cpu", metadata={"help": "cuda measures the paper-size model in bfloat16 in the place of all this"}
    )
    page: str | None = field(
        default=None, metadata={"help": "page in Markdown whose table is replaced, between its two markers"}
    )


ARGUMENTS = BenchArguments


def run(args: BenchArguments) -> int:
    """Prints each line as it is measured, writes the report; returns 0."""
    import torch

    from benchmarks.suite.picture import draw
    from benchmarks.suite.report import around_table, machine, markdown, table, write_into_page, write_report
    from benchmarks.suite.sizes import FULL, QUICK
    from benchmarks.suite.suite import PARTS, Findings, measure_paper_size, run_suite

    if args.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is cuda, and torch finds none; leave --device out to measure on the CPU")
    if args.page is not None:
        if not Path(args.page).is_file():
            raise ValueError(f"{args.page}: no such page; give one with the markers of the table")
        around_table(Path(args.page))
    sizes = QUICK if args.quick else FULL
    about, found, output = machine(args.device), Findings(), Path(args.output_dir)
    with TemporaryDirectory() as folder:
        if args.device == "cuda":
            measured = measure_paper_size(_recipe(PAPER_RECIPE, folder)[0], args.device, found)
        else:
            measured = run_suite(sizes, _recipe(EPOCH_RECIPE, folder), found, args.parts or PARTS)
        for comparison in measured:
            print(f"{comparison.name}: {comparison.summary['ratio']:.3g}", flush=True)
            write_report(output, found.comparisons, about, asdict(sizes))  # so that a killed run leaves what it has
    draw(output / "bench.png", found.comparisons, found.curves)
    print(f"\n{table(found.comparisons)}\n\nThe figures are in {output}")
    if args.page is not None:
        write_into_page(Path(args.page), markdown(found.comparisons, about))
    return 0


def _recipe(name: str, folder: str) -> tuple[Any, Any]:
    """The model and the training section of a recipe, for one epoch that saves and judges nothing."""
    from mser_llm.cli.parser import MSERArgumentParser
    from mser_llm.cli.train import ARGUMENTS as TRAINING

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
    _, model, _, training = MSERArgumentParser(TRAINING).parse_args_into_dataclasses([name, *flags])
    return model, training
