# SPDX-License-Identifier: Apache-2.0
"""`run-mser reproduce WHAT`: a table or figure of the papers, from recipes and speech to its page.

run-mser reproduce table2 --demo --recipe tiny --output_dir runs/table2-demo
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from mser_llm.cli.corpus_arguments import read_rows
from mser_llm.cli.parser import MSERArgumentParser
from mser_llm.cli.recipes import RecipeError, find_recipe, read_recipe


HELP = "Run what a table or figure of the papers needs, and print the published rows beside ours."
Row = Mapping[str, Any]


@dataclass
class ReproduceArguments:
    what: str = field(
        metadata={
            "positional": True,
            "metavar": "WHAT",
            "help": "table1a, table1b, table2, peers, figure1, figure2, figure4, lowresource-table1, "
            "lowresource-table2, lowresource-figure3",
        }
    )
    recipe: str | None = field(
        default=None,
        metadata={
            "help": "folder of recipes: tiny (the default), base, paper, or one with stage1.yaml, stage2.yaml; of "
            "lowresource-table1 lowresource (the default), base, or one with the same files"
        },
    )
    corpora: list[str] = field(default_factory=list, metadata={"help": "NAME=PATH of what is trained on"})
    test: list[str] = field(default_factory=list, metadata={"help": "NAME=PATH of what is measured on"})
    labels: str = field(default="seven", metadata={"help": "label set: four, seven, or words separated by commas"})
    protocol: str | None = field(
        default=None,
        metadata={"help": "of table2 and figure4: a test whose fold divides the corpora, in place of --test"},
    )
    fold: str | None = field(default=None, metadata={"help": "of the protocol, by name or number, such as session5"})
    seeds: list[int] = field(
        default_factory=list,
        metadata={"help": "every system is trained with each; by default 0 1 2, and 0 1 2 3 4 for lowresource-table1"},
    )
    systems: list[str] = field(
        default_factory=list, metadata={"help": "of peers and lowresource-table1; by default all"}
    )
    budget: int = field(default=3200, metadata={"help": "clips drawn in the training of each system of peers"})
    settings: list[str] = field(
        default_factory=list,
        metadata={"help": "KEY=VALUE over every recipe, for example num_train_epochs=1"},
    )
    demo: bool = field(
        default=False, metadata={"help": "train and measure on the speech of `run-mser demo --size small`"}
    )
    models: list[str] = field(
        default_factory=list,
        metadata={
            "help": "trained models, instead of training: each seed (table1b), or without and with contrast (figure4)"
        },
    )
    projection: Literal["tsne", "umap"] = field(
        default="tsne", metadata={"help": "of figure4's picture; umap needs the extra umap"}
    )
    output_dir: str | None = field(default=None, metadata={"help": "where all goes; by default runs/WHAT"})
    cache_dir: str | None = field(
        default=None, metadata={"help": "where features are kept; by default as the recipe says"}
    )
    allow_leak: bool = field(
        default=False, metadata={"help": "measure although training heard the test, and mark the result"}
    )
    device: str = field(default="auto", metadata={"help": "for the measuring: auto, cpu, cuda or cuda:N"})

    def __post_init__(self) -> None:
        low_resource = self.what == "lowresource-table1"
        self.seeds = self.seeds or list(range(5 if low_resource else 3))
        self.recipe = self.recipe or ("lowresource" if low_resource else "tiny")

    @property
    def folder(self) -> Path:
        return Path(self.output_dir or f"runs/{self.what}")


ARGUMENTS = ReproduceArguments


def run(args: ReproduceArguments) -> int:
    """Runs what is asked for, or the rest of it where an earlier call was cut off."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError("reproduce runs in one process; train with run-mser train on several, and give --models")
    if args.what not in WHAT:
        raise ValueError(f"{args.what!r} is no table or figure that is known; choose from {', '.join(WHAT)}")
    return WHAT[args.what](args)


def table2(args: ReproduceArguments) -> int:
    """Table II: six systems, English or multilingual, with and without contrast, in one stage or two."""
    from mser_llm.reproduction.table2 import write_table2

    print(write_table2(experiment(args), args.seeds))
    return 0


def table1a(args: ReproduceArguments) -> int:
    """Table I a: IEMOCAP by leave-one-session-out and MELD by its own split, four and seven classes."""
    from mser_llm.reproduction import table1

    recipes = partial(family_recipe, args)
    print(table1.table1a(read_rows(args.corpora), recipes, args.seeds, args.folder, args.allow_leak, args.device))
    return 0


def table1b(args: ReproduceArguments) -> int:
    """Table I b: zero-shot on ShEMO, AESDD, RAVDESS and RESD, by models that are given or trained."""
    from mser_llm.reproduction import table1
    from mser_llm.reproduction.measuring import model_folders

    models = model_folders(args.models)
    if models:
        tests = read_rows(args.test)
    else:
        trained = experiment(args)
        tests = trained.tests
        table1.check_zero_shot(trained.training, tests, args.allow_leak)
        system = table1.system_for(trained.training)
        models = replace(trained, tests={}).train([system], args.seeds)[system.name]
    print(table1.table1b(models, tests, args.folder, args.allow_leak, args.device))
    return 0


def peers(args: ReproduceArguments) -> int:
    """MSER, the two neighbouring methods and combinations of their parts, each with the same budget."""
    from mser_llm.reproduction.peers import PeerExperiment

    if args.budget < 1:
        raise ValueError(f"budget is {args.budget}; give how many clips the training of a system draws")
    print(PeerExperiment(experiment(args), partial(peer_recipe, args), args.budget, args.seeds).write(args.systems))
    return 0


def figure1(args: ReproduceArguments) -> int:
    """Figure 1: emotions and languages of a built M5SER."""
    from mser_llm.reproduction import corpus_figures

    results = corpus_figures.figure1(m5ser_folder(args), args.folder)
    print(f"{results['clips']} clips, {results['hours']:.2f} hours; {results['paper']}")
    for by in ("languages", "emotions"):
        print("  ".join(f"{name} {total['hours']:.2f} h" for name, total in results[by].items()))
    print(f"written to {args.folder / 'figure1.png'} and figure1.json")
    return 0


def figure2(args: ReproduceArguments) -> int:
    """Figure 2: where the mean spectra of emotions and languages of a built M5SER lie."""
    from mser_llm.reproduction import corpus_figures

    test = corpus_figures.figure2(m5ser_folder(args), args.folder)["test"]
    if test:
        sure = " [{:.2f}, {:.2f}]".format(*test["interval"]) if test["interval"] else ""
        print(f"distances, same emotion ÷ different emotion: {test['ratio']:.2f}{sure}, p {test['p']:.3f}")
    print(f"written to {args.folder}: figure2_*.png, figure2.json, report.html")
    return 0


def m5ser_folder(args: ReproduceArguments) -> Path:
    """The path in `--corpora m5ser=PATH`.

    Raises:
        ValueError: other corpora are given, or none.
    """
    from mser_llm.data.read_corpus import parse_corpora

    named = list(parse_corpora(args.corpora).values())
    if [name for name, _ in named] != ["m5ser"]:
        raise ValueError(f"{args.what} is about M5SER; give --corpora m5ser=PATH, the folder of run-mser m5ser build")
    return named[0][1]


def figure4(args: ReproduceArguments) -> int:
    """Figure 4: the embeddings of a test corpus without and with the contrast, of models given or trained."""
    from mser_llm.reproduction import figure4
    from mser_llm.reproduction.measuring import model_folders
    from processing_mser import label_set

    if args.models:
        if len(args.models) != 2:
            raise ValueError(f"{len(args.models)} --models; give two, the one without the contrast first")
        folders = model_folders(args.models)
        tests = read_rows(args.test)
        models = {name: [one] for name, one in zip((figure4.WITHOUT, figure4.WITH), folders)}
    else:
        models, tests = trained_pair(args)
    labels = label_set(args.labels)
    results = figure4.figure4(models, tests, labels, args.folder, args.projection, args.allow_leak, args.device)
    print(figure4.told(results))
    print(f"written to {args.folder / 'figure4.png'} and figure4.json")
    return 0


def lowresource_table1(args: ReproduceArguments) -> int:
    """The low-resource paper's Table 1 and Sec. 4.3: baseline, contrastive and BYOL in five folds."""
    from mser_llm.reproduction.lowresource_table1 import LowResourceTable

    training = [row for rows in read_rows(args.corpora).values() for row in rows]
    table = LowResourceTable(
        training,
        read_rows(args.test),
        lowresource_recipe(args),
        args.seeds,
        args.folder,
        args.allow_leak,
        args.device,
    )
    print(table.write(args.systems))
    return 0


def lowresource_table2(args: ReproduceArguments) -> int:
    """The low-resource paper's Table 2: one model's confusion matrix less another's, by gender."""
    from mser_llm.evaluation.predictions import Predictions
    from mser_llm.reproduction import confusion_difference
    from mser_llm.reproduction.measuring import SpeechUnderTest, measured, model_folders, model_leaks
    from processing_mser import label_set

    if len(args.models) < 2 or len(args.models) % 2:
        raise ValueError(
            f"{len(args.models)} --models; give as many of both systems, those of the baseline first, seed by seed"
        )
    models = model_folders(args.models)
    tests = SpeechUnderTest(read_rows(args.test), label_set(args.labels))
    leaks = model_leaks(models, tests, args.allow_leak)
    runs: list[Predictions] = [
        measured(model, tests, args.folder / f"model{number}", args.device) for number, model in enumerate(models)
    ]
    half = len(runs) // 2
    found = confusion_difference.confusion_differences(runs[:half], runs[half:])
    print(confusion_difference.write_confusion_differences(found, tests.labels.words, args.folder, leaks))
    return 0


def lowresource_figure3(args: ReproduceArguments) -> int:
    """The low-resource paper's Figure 3: embeddings of several models, corpus by corpus."""
    from mser_llm.reproduction import lowresource_figure3
    from mser_llm.reproduction.figure4 import in_brackets
    from mser_llm.reproduction.measuring import model_folders
    from processing_mser import label_set

    models, tests = model_folders(args.models), read_rows(args.test)
    if not models or not tests:
        raise ValueError("give --models, the baseline first, and --test NAME=PATH …")
    results = lowresource_figure3.lowresource_figure3(
        models, tests, label_set(args.labels), args.folder, args.projection, args.allow_leak, args.device
    )
    for one in results:
        told = "  ".join(f"{name} {in_brackets(one[name])}" for name in ("silhouette", "purity", "purity_chance"))
        print(f"{one['corpus']}, {one['model']}: {told}; {one['leak']}")
    print(f"written to {args.folder / 'lowresource-figure3.png'} and .json")
    return 0


WHAT: dict[str, Callable[[ReproduceArguments], int]] = {
    "table1a": table1a,
    "table1b": table1b,
    "table2": table2,
    "peers": peers,
    "figure1": figure1,
    "figure2": figure2,
    "figure4": figure4,
    "lowresource-table1": lowresource_table1,
    "lowresource-table2": lowresource_table2,
    "lowresource-figure3": lowresource_figure3,
}


def experiment(args: ReproduceArguments) -> Any:
    """What is trained and measured on, as the arguments say it."""
    from mser_llm.reproduction.runs import Experiment
    from processing_mser import label_set

    if args.protocol is not None:
        from mser_llm.reproduction.table1 import fold_experiment

        if args.test or args.demo:
            raise ValueError("--protocol divides the corpora itself; leave out --test and --demo")
        rows = [row for own in read_rows(args.corpora).values() for row in own]
        recipes = partial(family_recipe, args)
        return fold_experiment(args.protocol, args.fold, rows, recipes, args.folder, args.allow_leak, args.device)
    training, tests = speech(args)
    return Experiment(
        recipe=family_recipe(args),
        training=training,
        tests=tests,
        labels=label_set(args.labels),
        folder=args.folder,
        device=args.device,
        allow_leak=args.allow_leak,
    )


def trained_pair(args: ReproduceArguments) -> tuple[dict[str, list[Path]], dict[str, list[Row]]]:
    """The two-stage systems without and with the contrast, a folder for each seed, and what they are tested on."""
    from mser_llm.reproduction.figure4 import WITH, WITHOUT
    from mser_llm.reproduction.systems import SYSTEMS

    trained = experiment(args)
    names = {WITHOUT: "MSER (S2)", WITH: "MSER + L_lec (S2)"}
    runs = trained.run([SYSTEMS[name] for name in names.values()], args.seeds)
    return {choice: [run.folder for run in runs[name]] for choice, name in names.items()}, trained.tests


def speech(args: ReproduceArguments) -> tuple[list[Row], dict[str, list[Row]]]:
    """Rows to train on, and those of each tested corpus by its name.

    Raises:
        ValueError: neither corpora nor the demonstration.
    """
    if args.demo:
        from mser_llm.cli.demo import demonstration_speech

        if args.corpora or args.test:
            raise ValueError("--demo brings its own speech; leave out --corpora and --test")
        made: tuple[Sequence[Row], Sequence[Row]] = demonstration_speech(args.folder / "demo", "small", seed=0)
        held_out = {
            f"demo-{code}": [row for row in made[1] if row["language"] == code]
            for code in sorted({row["language"] for row in made[1]})
        }
        return list(made[0]), held_out
    if not args.corpora or not args.test:
        raise ValueError("give --corpora NAME=PATH … to train on and --test NAME=PATH …, or --demo")
    training = [row for rows in read_rows(args.corpora).values() for row in rows]
    return training, read_rows(args.test)


def family_recipe(args: ReproduceArguments, labels: str | None = None) -> Callable[..., Any]:
    """Settings for a step: the family's recipe of its stage, and nothing changed but what tells the systems apart.

    A family without `joint.yaml` trains jointly by its `stage1.yaml`, with the batches of its `stage2.yaml`: one stage
    and two must not differ in how batches are balanced. `labels` replaces the label set of the arguments.
    """
    flags = [flag for setting in args.settings for flag in as_flag(setting)]
    if args.cache_dir is not None:
        flags += ["--cache_dir", args.cache_dir]

    def settings(step: Any, seed: int, folder: Path, earlier: Path | None) -> Any:
        stage = "joint" if step.stage == "joint" else f"stage{step.stage}"
        own: list[str] = []
        try:
            recipe = find_recipe(f"{args.recipe}/{stage}.yaml")
        except RecipeError:
            if stage != "joint":
                raise
            recipe = find_recipe(f"{args.recipe}/stage1.yaml")
            balance = read_recipe(find_recipe(f"{args.recipe}/stage2.yaml")).get("balance")
            own = [] if balance is None else ["--balance", balance]
        words = [
            str(recipe),
            *own,
            "--stage",
            step.stage,
            "--labels",
            labels or args.labels,
            "--seed",
            str(seed),
            *flags,
        ]
        words += ["--output_dir", str(folder)] + (["--init_from", str(earlier)] if earlier is not None else [])
        words += [] if step.contrast else ["--contrast_weight", "0"]
        model, data, training = as_training(words)
        weight = (training.objective_section.get("margin_contrast") or {}).get("weight", 0)
        if step.contrast and weight == 0:
            raise ValueError(f"{recipe}: contrast_weight is 0, so there is no contrast to compare with; give a weight")
        return model, data, training

    return settings


def peer_recipe(args: ReproduceArguments, held_out: float) -> Callable[..., Any]:
    """Settings for a step of `peers`: a recipe of the family for as many steps as the budget has batches.

    Args:
        args: with the family and the budget.
        held_out: share of the speakers that are not trained on; 0 for none.
    """
    flags = [flag for setting in args.settings for flag in as_flag(setting)]
    if args.cache_dir is not None:
        flags += ["--cache_dir", args.cache_dir]

    def settings(step: Any, seed: int, folder: Path, earlier: Path | None) -> Any:
        recipe = find_recipe(f"{args.recipe}/{step.recipe}.yaml")
        words = [str(recipe), "--labels", args.labels, "--seed", str(seed), "--output_dir", str(folder), *step.flags]
        words += ["--validation_fraction", str(held_out)] + (["--init_from", str(earlier)] if earlier else [])
        model, data, training = as_training([*words, *flags])
        # Batches of speakers show each clip twice, as it is and changed.
        shown = 2 if training.balance == "speaker" and data.views > 1 else 1
        clips = training.train_batch_size // shown
        training.max_steps = max(1, round(args.budget * step.share / clips))
        return model, data, training

    return settings


def lowresource_recipe(args: ReproduceArguments) -> Callable[..., Any]:
    """Settings for a step of `lowresource-table1`: a recipe of the family, with the flags of the step.

    The baseline of `base` is `lowresource_baseline.yaml`.
    """
    flags = [flag for setting in args.settings for flag in as_flag(setting)]
    if args.cache_dir is not None:
        flags += ["--cache_dir", args.cache_dir]

    def settings(step: Any, seed: int, folder: Path, earlier: Path | None) -> Any:
        try:
            recipe = find_recipe(f"{args.recipe}/lowresource_{step.recipe}.yaml")
        except RecipeError:
            recipe = find_recipe(f"{args.recipe}/{step.recipe}.yaml")
        words = [str(recipe), "--labels", "four", "--seed", str(seed), "--output_dir", str(folder), *step.flags]
        return as_training([*words, *(["--init_from", str(earlier)] if earlier else []), *flags])

    return settings


def as_training(words: Sequence[str]) -> tuple[Any, Any, Any]:
    """The model, the data and the training of a command line of `run-mser train`."""
    # Imported here, as `--help` need not wait for torch.
    from mser_llm.cli import train as train_command

    # A parser of its own: a recipe's values would stay the defaults of the next.
    parser = MSERArgumentParser(train_command.ARGUMENTS, prog="run-mser reproduce")
    _, model, data, training = parser.parse_args_into_dataclasses(words)
    return model, data, training


def as_flag(setting: str) -> tuple[str, str]:
    """`KEY=VALUE` as a flag of `run-mser train`.

    Raises:
        ValueError: no KEY=VALUE.
    """
    key, equals, value = setting.partition("=")
    if not key or not equals:
        raise ValueError(f"{setting!r} is no KEY=VALUE; give --settings num_train_epochs=1, for example")
    return f"--{key}", value
