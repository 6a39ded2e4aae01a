# SPDX-License-Identifier: Apache-2.0
"""`run-mser train CONFIG.yaml`: one stage of training from a recipe."""

import os
from dataclasses import dataclass, field

from accelerate import PartialState

from data_mser.reading import parse_corpora, read_corpus
from training_mser.arguments import DataArguments, ModelArguments, MSERTrainingArguments
from training_mser.processes import leave_process_group, missing_processes
from training_mser.stages import train


@dataclass
class TrainArguments:
    """What to train by."""

    config: str = field(metadata={"positional": True, "help": "Recipe, such as configs/tiny/stage1.yaml."})


ARGUMENTS = (TrainArguments, ModelArguments, DataArguments, MSERTrainingArguments)
HELP = "train a model from a recipe, one stage a call"


def run(command: TrainArguments, model: ModelArguments, data: DataArguments, training: MSERTrainingArguments) -> int:
    """Reads the corpora, trains, and prints where the model is."""
    if not data.corpora:
        raise ValueError("no corpora to train on; give --corpora NAME=PATH …, for instance folder=my_clips")
    show = print if PartialState().is_main_process else lambda *_: None
    missing = missing_processes(os.environ, PartialState().num_processes)
    if missing is not None:
        show(f"Warning: {missing}")
    rows = []
    for name, path in parse_corpora(data.corpora).values():
        reading = read_corpus(name, path)
        for warning in reading.warnings:
            show(f"Warning: {warning}")
        rows += reading.rows
    results = train(rows, model, data, training)
    if results["validation"] is not None:
        figures = "  ".join(f"{name} {results['validation'][f'eval_{name}']:.3f}" for name in ("UA", "WA", "WF1"))
        show(f"On held-out speakers: {figures}")
    show(f"The model is in {training.output_dir}")
    if training.push_to_hub and PartialState().is_main_process:
        from training_mser.publishing.push import push_run

        print(push_run(training))
    leave_process_group()
    return 0
