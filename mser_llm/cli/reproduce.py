# SPDX-License-Identifier: Apache-2.0
"""`run-mser reproduce WHAT`: reproduce a table or figure of the papers, from recipes and speech to its page.

run-mser reproduce table2 --demo --recipe tiny --output_dir runs/table2-demo
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mser_llm.cli.corpus_arguments import read_rows
from mser_llm.cli.dataclass_arguments import option
from mser_llm.cli.reproduce_recipes import RecipeFamily
from mser_llm.io.errors import InputError


if TYPE_CHECKING:
    from mser_llm.reproduction.runs import Experiment


HELP = "Run what a table or figure of the papers needs, and print the published rows next to ours."
Row = Mapping[str, Any]


@dataclass
class ReproduceArguments:
    what: str = option(
        help="table1a, table1b, table2, peers, figure1, figure2, figure4, lowresource-table1, "
        "lowresource-table2, lowresource-figure3",
        positional=True,
        metavar="WHAT",
    )
    recipe: str | None = option(
        None,
        "folder of recipes: tiny (the default), base, paper, or one with stage1.yaml and stage2.yaml; for "
        "lowresource-table1 lowresource (the default), base, or one with the same files",
    )
    corpora: list[str] = option([], "training corpora, NAME=PATH each")
    test: list[str] = option([], "test corpora, NAME=PATH each")
    labels: str = "seven"
    protocol: str | None = option(
        None, "for table2 and figure4: a protocol whose fold divides the corpora, instead of --test"
    )
    fold: str | None = option(None, "of the protocol, by name or number, such as session5")
    seeds: list[int] = option(
        [], "every system is trained with each; by default 0 1 2, and 0 1 2 3 4 for lowresource-table1"
    )
    systems: list[str] = option([], "for peers and lowresource-table1; by default all")
    budget: int = option(3200, "clips drawn in the training of each system of peers")
    settings: list[str] = option([], "KEY=VALUE over every recipe, for example num_train_epochs=1")
    demo: bool = option(False, "train and test on the speech of `run-mser demo --size small`")
    models: list[str] = option(
        [], "trained models, instead of training: one per seed (table1b), or without and with contrast (figure4)"
    )
    projection: Literal["tsne", "umap"] = option("tsne", "of the picture of figure4; umap needs the extra umap")
    output_dir: str | None = option(None, "output folder; by default runs/WHAT")
    cache_dir: str | None = option(None, "folder of cached features; by default the recipe's")
    allow_leak: bool = False
    device: str = option("auto", "for the evaluation: auto, cpu, cuda or cuda:N")

    def __post_init__(self) -> None:
        low_resource = self.what == "lowresource-table1"
        self.seeds = self.seeds or list(range(5 if low_resource else 3))
        self.recipe = self.recipe or ("lowresource" if low_resource else "tiny")

    @property
    def folder(self) -> Path:
        return Path(self.output_dir or f"runs/{self.what}")

    @property
    def family(self) -> RecipeFamily:
        return RecipeFamily(str(self.recipe), self.labels, self.settings, self.cache_dir)


ARGUMENTS = ReproduceArguments


def run(args: ReproduceArguments) -> int:
    """Run a reproduction, or resume it where an earlier call was interrupted."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError(
            "reproduce", "runs in one process", "train with `run-mser train` on several and pass --models"
        )
    functions = {function.__name__.replace("_", "-"): function for function in (*MSER_PAPER, *LOW_RESOURCE_PAPER)}
    if args.what not in functions:
        raise InputError(args.what, "is not a known table or figure", f"choose from {', '.join(functions)}")
    functions[args.what](args)
    return 0


def table2(args: ReproduceArguments) -> None:
    """Table II: six systems, English or multilingual, with and without contrast, in one stage or two."""
    from mser_llm.reproduction.table2 import write_table2

    print(write_table2(experiment(args), args.seeds))


def table1a(args: ReproduceArguments) -> None:
    """Table I a: IEMOCAP by leave-one-session-out and MELD by its own split, four and seven classes."""
    from mser_llm.reproduction import table1

    corpora, recipe_for = read_rows(args.corpora), args.family.of_systems
    print(table1.table1a(corpora, recipe_for, args.seeds, args.folder, args.allow_leak, args.device))


def table1b(args: ReproduceArguments) -> None:
    """Table I b: zero-shot on ShEMO, AESDD, RAVDESS and RESD, with given models or newly trained ones."""
    from mser_llm.reproduction import table1
    from mser_llm.reproduction.evaluation_cache import model_folders

    models = model_folders(args.models)
    if models:
        tests: Mapping[str, Sequence[Row]] = read_rows(args.test)
    else:
        trained = experiment(args)
        tests = trained.tests
        table1.check_zero_shot(trained.training, tests, args.allow_leak)
        system = table1.system_for(trained.training)
        models = replace(trained, tests={}).train([system], args.seeds)[system.name]
    print(table1.table1b(models, tests, args.folder, args.allow_leak, args.device))


def peers(args: ReproduceArguments) -> None:
    """MSER, the two neighbouring methods and combinations of their parts, each with the same budget."""
    from mser_llm.reproduction.peers import PeerExperiment

    if args.budget < 1:
        raise InputError(f"--budget {args.budget}", "is not positive", "pass the clips drawn per system")
    recipe_for = partial(args.family.of_peers, args.budget)
    print(PeerExperiment(experiment(args), recipe_for, args.budget, args.seeds).write(args.systems))


def figure1(args: ReproduceArguments) -> None:
    """Figure 1: emotions and languages of a built M5SER."""
    from mser_llm.reproduction import corpus_figures

    results = corpus_figures.figure1(m5ser_folder(args), args.folder)
    print(f"{results['clips']} clips, {results['hours']:.2f} hours; {results['paper']}")
    for by in ("languages", "emotions"):
        print("  ".join(f"{name} {total['hours']:.2f} h" for name, total in results[by].items()))
    print(f"written to {args.folder / 'figure1.png'} and figure1.json")


def figure2(args: ReproduceArguments) -> None:
    """Figure 2: mean spectra of the emotions and languages of a built M5SER."""
    from mser_llm.reproduction import corpus_figures

    test = corpus_figures.figure2(m5ser_folder(args), args.folder)["test"]
    if test:
        interval = " [{:.2f}, {:.2f}]".format(*test["interval"]) if test["interval"] else ""
        print(f"distances, same emotion ÷ different emotion: {test['ratio']:.2f}{interval}, p {test['p']:.3f}")
    print(f"written to {args.folder}: figure2_*.png, figure2.json, report.html")


def m5ser_folder(args: ReproduceArguments) -> Path:
    """Return the path in `--corpora m5ser=PATH`."""
    from mser_llm.data.read_corpus import parse_corpora

    named = list(parse_corpora(args.corpora).values())
    if [name for name, _ in named] != ["m5ser"]:
        given = " ".join(["--corpora", *args.corpora])
        raise InputError(given, f"{args.what} needs M5SER only", "pass m5ser=PATH, the folder of run-mser m5ser build")
    return named[0][1]


def figure4(args: ReproduceArguments) -> None:
    """Figure 4: embeddings of a test corpus without and with the contrast, of given models or newly trained ones."""
    from mser_llm.reproduction import figure4
    from mser_llm.reproduction.evaluation_cache import model_folders
    from mser_llm.reproduction.systems import SYSTEMS
    from processing_mser import label_set

    if args.models:
        if len(args.models) != 2:
            raise InputError("--models", f"{len(args.models)} models", "pass two, the one without the contrast first")
        folders = [[folder] for folder in model_folders(args.models)]
        tests: Mapping[str, Sequence[Row]] = read_rows(args.test)
    else:
        trained, systems = experiment(args), [SYSTEMS["MSER (S2)"], SYSTEMS["MSER + L_lec (S2)"]]
        tests, runs = trained.tests, trained.run(systems, args.seeds)
        folders = [[run.folder for run in runs[system.name]] for system in systems]
    models, labels = dict(zip((figure4.WITHOUT, figure4.WITH), folders, strict=True)), label_set(args.labels)
    results = figure4.figure4(models, tests, labels, args.folder, args.projection, args.allow_leak, args.device)
    print(figure4.summary(results))
    print(f"written to {args.folder / 'figure4.png'} and figure4.json")


def lowresource_table1(args: ReproduceArguments) -> None:
    """Table 1 and Sec. 4.3 of the low-resource paper: baseline, contrastive and BYOL in five folds."""
    from mser_llm.reproduction.lowresource_table1 import LowResourceTable

    training, tests, recipe = _joined(read_rows(args.corpora)), read_rows(args.test), args.family.of_low_resource()
    table = LowResourceTable(training, tests, recipe, args.seeds, args.folder, args.allow_leak, args.device)
    print(table.write(args.systems))


def lowresource_table2(args: ReproduceArguments) -> None:
    """Table 2 of the low-resource paper: the difference of two confusion matrices, by gender."""
    from mser_llm.reproduction import confusion_difference
    from mser_llm.reproduction.evaluation_cache import EvaluationSet, evaluate_once, model_folders, model_leaks
    from processing_mser import label_set

    if len(args.models) < 2 or len(args.models) % 2:
        problem = f"{len(args.models)} models"
        raise InputError("--models", problem, "pass as many of both systems, the baseline's first, seed by seed")
    models = model_folders(args.models)
    tests = EvaluationSet(read_rows(args.test), label_set(args.labels))
    leaks = model_leaks(models, tests, args.allow_leak)
    runs = [
        evaluate_once(model, tests, args.folder / f"model{number}", args.device) for number, model in enumerate(models)
    ]
    half = len(runs) // 2
    found = confusion_difference.confusion_differences(runs[:half], runs[half:])
    print(confusion_difference.write_confusion_differences(found, tests.labels.words, args.folder, leaks))


def lowresource_figure3(args: ReproduceArguments) -> None:
    """Figure 3 of the low-resource paper: embeddings of several models, corpus by corpus."""
    from mser_llm.reproduction import lowresource_figure3
    from mser_llm.reproduction.clusters import CLUSTER_METRICS
    from mser_llm.reproduction.evaluation_cache import model_folders
    from mser_llm.reproduction.formatting import format_interval
    from processing_mser import label_set

    models, tests = model_folders(args.models), read_rows(args.test)
    if not models or not tests:
        raise InputError(args.what, "models or tests are missing", "pass --models, the baseline first, and --test")
    results = lowresource_figure3.lowresource_figure3(
        models, tests, label_set(args.labels), args.folder, args.projection, args.allow_leak, args.device
    )
    for one in results:
        metrics = "  ".join(f"{name} {format_interval(one[name])}" for name in CLUSTER_METRICS)
        print(f"{one['corpus']}, {one['model']}: {metrics}; {one['leak']}")
    print(f"written to {args.folder / 'lowresource-figure3.png'} and .json")


MSER_PAPER = (table1a, table1b, table2, peers, figure1, figure2, figure4)
LOW_RESOURCE_PAPER = (lowresource_table1, lowresource_table2, lowresource_figure3)


def experiment(args: ReproduceArguments) -> "Experiment":
    """Build the experiment that the arguments describe."""
    from mser_llm.reproduction.runs import Experiment
    from processing_mser import label_set

    if args.protocol is not None:
        from mser_llm.reproduction.table1 import fold_experiment

        if args.test or args.demo:
            raise InputError("--protocol", "divides the corpora itself", "leave out --test and --demo")
        rows, recipe_for = _joined(read_rows(args.corpora)), args.family.of_systems
        return fold_experiment(args.protocol, args.fold, rows, recipe_for, args.folder, args.allow_leak, args.device)
    training, tests = speech(args)
    recipe, labels = args.family.of_systems(), label_set(args.labels)
    return Experiment(recipe, training, tests, labels, args.folder, args.device, args.allow_leak)


def speech(args: ReproduceArguments) -> tuple[list[Row], dict[str, list[Row]]]:
    """Read the training rows, and those of each test corpus by name."""
    if args.demo:
        from mser_llm.cli.demo import demonstration_speech

        if args.corpora or args.test:
            raise InputError("--demo", "brings its own speech", "leave out --corpora and --test")
        training, tested = demonstration_speech(args.folder / "demo", "small", seed=0)
        by_language: dict[str, list[Row]] = {}
        for row in sorted(tested, key=lambda row: row["language"]):
            by_language.setdefault(f"demo-{row['language']}", []).append(row)
        return list(training), by_language
    if not args.corpora or not args.test:
        fix = "pass --corpora NAME=PATH … to train on and --test NAME=PATH …, or --demo"
        raise InputError(args.what, "corpora are missing", fix)
    return _joined(read_rows(args.corpora)), read_rows(args.test)


def _joined(corpora: Mapping[str, Sequence[Row]]) -> list[Row]:
    return [row for rows in corpora.values() for row in rows]
