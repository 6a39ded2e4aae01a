# SPDX-License-Identifier: Apache-2.0
"""`run-mser train CONFIG.yaml`: train one stage from a recipe.

run-mser train paper/stage1 --protocol iemocap-7 --fold session1 --corpora iemocap=PATH
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mser_llm.cli.dataclass_arguments import option
from mser_llm.cli.parser import MSERArgumentParser
from mser_llm.cli.training_section import TrainingSection
from mser_llm.training.arguments import DataArguments, ModelArguments


if TYPE_CHECKING:
    from mser_llm.training.training_arguments import MSERTrainingArguments


@dataclass
class TrainArguments:
    """The recipe and the protocol."""

    config: str = option(help="Recipe, such as configs/tiny/stage1.yaml.", positional=True)
    protocol: str | None = option(
        None, "Protocol to train for (run-mser protocols): its labels, and the training part of a fold."
    )
    fold: str | None = option(None, "Fold of the protocol, by name or number, such as session3 or 3.")
    allow_leak: bool = option(
        False, "Train on a fold whose training and test parts share speakers, such as MELD's own split."
    )


ARGUMENTS = (TrainArguments, ModelArguments, DataArguments, TrainingSection())
HELP = "train a model from a recipe, one stage per call"


def parse_training(
    words: Sequence[str], prog: str = "run-mser train"
) -> tuple[ModelArguments, DataArguments, "MSERTrainingArguments"]:
    """Parse the words after `run-mser train` into the sections of a training."""
    _, model, data, training = MSERArgumentParser(ARGUMENTS, prog=prog).parse_args_into_dataclasses(words)
    return model, data, training


def run(command: TrainArguments, model: ModelArguments, data: DataArguments, training: "MSERTrainingArguments") -> int:
    """Read the corpora, train, and print where the model is."""
    from accelerate import PartialState

    from mser_llm.cli.argument_checks import check_init_from
    from mser_llm.data.read_corpus import parse_corpora, read_corpus
    from mser_llm.evaluation.protocols import find_protocol
    from mser_llm.training.data.folds import arguments_for_fold, fold_rows, training_fold
    from mser_llm.training.distributed import leave_process_group, missing_processes
    from mser_llm.training.run_training import train

    if not data.corpora:
        raise ValueError("no corpora to train on; pass --corpora NAME=PATH …, for instance folder=my_clips")
    if command.fold is not None and command.protocol is None:
        raise ValueError("--fold needs --protocol; name the protocol of the fold")
    check_init_from(model.init_from)
    show = print if PartialState().is_main_process else lambda *_: None
    missing = missing_processes(os.environ, PartialState().num_processes)
    if missing is not None:
        show(f"Warning: {missing}")
    rows: list[Mapping[str, Any]] = []
    for name, path in parse_corpora(data.corpora).values():
        reading = read_corpus(name, path)
        for warning in reading.warnings:
            show(f"Warning: {warning}")
        rows += reading.rows
    if command.protocol is not None:
        protocol = find_protocol(command.protocol)
        fold = training_fold(protocol, rows, data, command.fold, allow_leak=command.allow_leak)
        data = arguments_for_fold(data, fold, protocol)
        rows = fold_rows(fold, data)
        show(f"{protocol.name}, {fold.name}: {len(rows)} clips for training, {len(fold.test)} left for testing")
    results = train(rows, model, data, training)
    if results["validation"] is not None:
        metrics = "  ".join(f"{name} {results['validation'][f'eval_{name}']:.3f}" for name in ("UA", "WA", "WF1"))
        show(f"On held-out speakers: {metrics}")
    show(f"The model is in {training.output_dir}")
    if training.push_to_hub and PartialState().is_main_process:
        from mser_llm.hub.push import push_run

        print(push_run(training))
    leave_process_group()
    return 0
