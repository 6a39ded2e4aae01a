# SPDX-License-Identifier: Apache-2.0
"""`run-mser reproduce WHAT`: a table or figure of the papers, from recipes and speech to its page.

run-mser reproduce table2 --demo --recipe tiny --output_dir runs/table2-demo
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from commands_mser import train as train_command
from commands_mser.parser import MSERArgumentParser
from commands_mser.recipes import RecipeError, find_recipe


HELP = "Run what a table or figure of the papers needs, and print the published rows beside ours."
Row = Mapping[str, Any]


@dataclass
class ReproduceArguments:
    what: str = field(metadata={"positional": True, "metavar": "WHAT", "help": "table2"})
    recipe: str = field(
        default="tiny", metadata={"help": "folder of recipes: tiny, base, paper, or one with stage1.yaml, stage2.yaml"}
    )
    corpora: list[str] = field(default_factory=list, metadata={"help": "NAME=PATH of what is trained on"})
    test: list[str] = field(default_factory=list, metadata={"help": "NAME=PATH of what is measured on"})
    labels: str = field(default="seven", metadata={"help": "label set: four, seven, or words separated by commas"})
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2], metadata={"help": "every system is trained with each"})
    settings: list[str] = field(
        default_factory=list,
        metadata={"help": "KEY=VALUE over every recipe, for example num_train_epochs=1"},
    )
    demo: bool = field(
        default=False, metadata={"help": "train and measure on the speech of `run-mser demo --size small`"}
    )
    output_dir: str | None = field(default=None, metadata={"help": "where all goes; by default runs/WHAT"})
    cache_dir: str | None = field(
        default=None, metadata={"help": "where features are kept; by default as the recipe says"}
    )
    allow_leak: bool = field(
        default=False, metadata={"help": "measure although training heard the test, and mark the result"}
    )
    device: str = field(default="auto", metadata={"help": "for the measuring: auto, cpu, cuda or cuda:N"})

    @property
    def folder(self) -> Path:
        return Path(self.output_dir or f"runs/{self.what}")


ARGUMENTS = ReproduceArguments


def run(args: ReproduceArguments) -> int:
    """Runs what is asked for, or the rest of it where an earlier call was cut off."""
    if args.what not in WHAT:
        raise ValueError(f"{args.what!r} is no table or figure that is known; choose from {', '.join(WHAT)}")
    return WHAT[args.what](args)


def table2(args: ReproduceArguments) -> int:
    """Table II: six systems, English or multilingual, with and without contrast, in one stage or two."""
    from processing_mser import label_set
    from reproduction_mser.runs import Experiment
    from reproduction_mser.table2 import write_table2

    training, tests = speech(args)
    experiment = Experiment(
        recipe=family_recipe(args),
        training=training,
        tests=tests,
        labels=label_set(args.labels),
        folder=args.folder,
        device=args.device,
        allow_leak=args.allow_leak,
    )
    print(write_table2(experiment, args.seeds))
    return 0


WHAT: dict[str, Callable[[ReproduceArguments], int]] = {"table2": table2}


def speech(args: ReproduceArguments) -> tuple[list[Row], dict[str, list[Row]]]:
    """Rows to train on, and those of each tested corpus by its name.

    Raises:
        ValueError: neither corpora nor the demonstration.
    """
    if args.demo:
        from commands_mser.demo import demonstration_speech

        if args.corpora or args.test:
            raise ValueError("--demo brings its own speech; leave out --corpora and --test")
        training, held_out = demonstration_speech(args.folder / "demo", "small", seed=0)
        languages = sorted({row["language"] for row in held_out})
        return training, {f"demo-{code}": [row for row in held_out if row["language"] == code] for code in languages}
    if not args.corpora or not args.test:
        raise ValueError("give --corpora NAME=PATH … to train on and --test NAME=PATH …, or --demo")
    training = [row for rows in read_all(args.corpora).values() for row in rows]
    return training, read_all(args.test)


def read_all(corpora: Sequence[str]) -> dict[str, list[Row]]:
    """The rows of each `NAME=PATH`; what a reader warns of goes to standard error."""
    from data_mser.reading import parse_corpora, read_corpus

    found: dict[str, list[Row]] = {}
    for key, (name, path) in parse_corpora(corpora).items():
        reading = read_corpus(name, path)
        for warning in reading.warnings:
            print(f"{key}: {warning}", file=sys.stderr)
        found[key] = list(reading.rows)
    return found


def family_recipe(args: ReproduceArguments) -> Callable[..., Any]:
    """Settings for a step: the family's recipe of its stage, and nothing changed but what tells the systems apart.

    A family without `joint.yaml` trains jointly by its `stage1.yaml`.
    """
    flags = [flag for setting in args.settings for flag in as_flag(setting)]
    if args.cache_dir is not None:
        flags += ["--cache_dir", args.cache_dir]

    def settings(step: Any, seed: int, folder: Path, earlier: Path | None) -> Any:
        stage = "joint" if step.stage == "joint" else f"stage{step.stage}"
        try:
            recipe = find_recipe(f"{args.recipe}/{stage}.yaml")
        except RecipeError:
            if stage != "joint":
                raise
            recipe = find_recipe(f"{args.recipe}/stage1.yaml")
        words = [str(recipe), "--stage", step.stage, "--labels", args.labels, "--seed", str(seed), *flags]
        words += ["--output_dir", str(folder)] + (["--init_from", str(earlier)] if earlier is not None else [])
        words += [] if step.contrast else ["--contrast_weight", "0"]
        # A parser of its own: a recipe's values would stay the defaults of the next.
        parser = MSERArgumentParser(train_command.ARGUMENTS, prog="run-mser reproduce")
        _, model, data, training = parser.parse_args_into_dataclasses(words)
        weight = (training.objective_section.get("margin_contrast") or {}).get("weight", 0)
        if step.contrast and weight == 0:
            raise ValueError(f"{recipe}: contrast_weight is 0, so there is no contrast to compare with; give a weight")
        return model, data, training

    return settings


def as_flag(setting: str) -> tuple[str, str]:
    """`KEY=VALUE` as a flag of `run-mser train`.

    Raises:
        ValueError: no KEY=VALUE.
    """
    key, equals, value = setting.partition("=")
    if not key or not equals:
        raise ValueError(f"{setting!r} is no KEY=VALUE; give --settings num_train_epochs=1, for example")
    return f"--{key}", value
