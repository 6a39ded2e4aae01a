# SPDX-License-Identifier: Apache-2.0
"""Train and evaluate the systems of a table, each step once, and resume after an interruption."""

import gc
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from mser_llm.data.clips import Clip, index_clips
from mser_llm.evaluation.labeled_clips import LabeledClips
from mser_llm.evaluation.predictions import Predictions
from mser_llm.evaluation.protocols import LeakReport, check_leak
from mser_llm.evaluation.protocols.training_record import TRAIN_RESULTS
from mser_llm.io.atomic_files import write_json
from mser_llm.io.errors import InputError
from mser_llm.reproduction.evaluation_cache import WEIGHTS, EvaluationSet, evaluate_once, read_json
from mser_llm.reproduction.formatting import format_backbones, format_training
from mser_llm.reproduction.published import METRICS
from mser_llm.reproduction.systems import System, TrainingStep, steps_of
from mser_llm.reproduction.table import Line, measured_line
from mser_llm.training.arguments import DataArguments, ModelArguments
from mser_llm.training.checkpointing import last_checkpoint
from mser_llm.training.run_record import describe_run
from mser_llm.training.run_training import train
from mser_llm.training.training_arguments import MSERTrainingArguments
from processing_mser import LabelSet


TRAINED = "trained.json"
COST = "cost.json"
Row = Mapping[str, Any]
Settings = tuple[ModelArguments, DataArguments, MSERTrainingArguments]
# Step, seed, the folder of the run, the folder of the earlier step.
Recipe = Callable[[Any, int, Path, Path | None], Settings]


@dataclass(frozen=True)
class Run:
    """
    A system trained with one seed and evaluated.

    Attributes:
        seed: of the training.
        folder: of the model.
        predictions: of all test clips.
        training: `train_results.json` of each step, in order.
        cpu_seconds: processor time of all steps, including the encoding of uncached features; None if a step was
            resumed.
    """

    seed: int
    folder: Path
    predictions: Predictions
    training: tuple[Mapping[str, Any], ...]
    cpu_seconds: float | None


def concatenate_folds(folds: Sequence[Sequence[Run]], kept: int = -1) -> list[Run]:
    """Join the predictions of each seed over its runs in all folds; everything else is that of the fold `kept`."""
    return [
        replace(runs[kept], predictions=Predictions.concatenate([run.predictions for run in runs]))
        for runs in zip(*folds, strict=True)
    ]


def runs_line(
    system: str, runs: Sequence[Run], metrics: Sequence[str] = METRICS, fold: str = "", **columns: Any
) -> Line:
    """Build the line of a system from its runs, one per seed; `fold` is the one whose training clips are counted."""
    trained_on = format_training(runs[0].training) + (f" (of {fold})" if fold else "")
    predictions = [run.predictions for run in runs]
    return measured_line(system, predictions, format_backbones(runs[0].folder), trained_on, metrics, **columns)


@dataclass(frozen=True)
class Experiment:
    """
    Systems trained and evaluated on the same speech.

    Attributes:
        recipe: returns the settings of a step.
        training: rows of all training corpora.
        tests: rows of each test corpus by name.
        labels: the candidate labels, in training and test.
        folder: of the runs, each in `seedN/STEP`.
        device: as for `load_model`.
        allow_leak: evaluate although training and test overlap, and mark the result.
    """

    recipe: Recipe
    training: Sequence[Row]
    tests: Mapping[str, Sequence[Row]]
    labels: LabelSet
    folder: Path
    device: str = "auto"
    allow_leak: bool = False

    def train(self, systems: Iterable[System], seeds: Sequence[int]) -> dict[str, list[Path]]:
        """
        Train the systems and evaluate each.

        Finished trainings with the same settings, clips and earlier steps are reused, and so are predictions of the
        same weights for the same clips and labels. An interrupted training is resumed from its last checkpoint.

        Returns:
            The folders of each system by name, in the order of the seeds.
        """
        systems = list(systems)
        self.check(systems, seeds)
        jobs = [(seed, step) for seed in seeds for step in steps_of(systems)]
        for number, (seed, step) in enumerate(jobs, 1):
            print(f"[{number}/{len(jobs)}] {self._folder(step, seed)}", flush=True)
            self._train(step, seed)
            if self.tests:
                self._predict(step, seed)
        return {system.name: [self._folder(system.last, seed) for seed in seeds] for system in systems}

    def check(self, systems: Iterable[System], seeds: Sequence[int]) -> None:
        """Check the settings of every training, and for leaks, before hours of training."""
        for step in steps_of(systems):
            for seed in seeds:
                self._settings(step, seed)
        self.leak  # noqa: B018 - raises

    @property
    def leak_mark(self) -> str:
        """The leak, if there is one and it is allowed."""
        return str(self.leak) if self.leak.found else ""

    def run(self, systems: Iterable[System], seeds: Sequence[int]) -> dict[str, list[Run]]:
        """Train the systems and return the runs of each by name, in the order of the seeds."""
        systems = list(systems)
        self.train(systems, seeds)
        return {system.name: [self._finished(system.last, seed) for seed in seeds] for system in systems}

    def _folder(self, step: TrainingStep, seed: int) -> Path:
        return self.folder / f"seed{seed}" / step.name

    def _settings(self, step: TrainingStep, seed: int) -> Settings:
        earlier = None if step.after is None else self._folder(step.after, seed)
        return self.recipe(step, seed, self._folder(step, seed), earlier)

    @cached_property
    def leak(self) -> LeakReport:
        """
        What training and test share.

        Raises:
            SpeakerLeakError: they overlap, and it is not allowed.
        """
        known = LabeledClips.from_rows("", self.training, self.labels).rows
        return check_leak(known, self._tests.clips.rows, allow=self.allow_leak)

    @cached_property
    def _training_clips(self) -> list[Clip]:
        # With the clips of other emotions: contrast and BYOL train on them.
        return index_clips(self.training, self.labels, max_seconds=float("inf"))[0]

    def _description(self, step: TrainingStep, seed: int) -> dict[str, Any]:
        settings = self._settings(step, seed)
        earlier = None if step.after is None else self._description(step.after, seed)
        return describe_run(*settings, self._training_clips, num_processes=1) | {"after": earlier}

    def _train(self, step: TrainingStep, seed: int) -> None:
        folder = self._folder(step, seed)
        found = read_json(folder / TRAINED)
        description = self._description(step, seed)
        if found == description:
            # A damaged record and missing weights are written again, by a training from the last checkpoint.
            if read_json(folder / TRAIN_RESULTS) is not None and (folder / WEIGHTS).is_file():
                return
        elif found is not None and (found | {"after": None}) == (description | {"after": None}):
            raise InputError(folder, "its earlier step was trained again", "delete it, or pass another --output_dir")
        resumed, start = last_checkpoint(folder) is not None, time.process_time()
        train(self.training, *self._settings(step, seed))
        write_json(folder / COST, {"cpu_seconds": None if resumed else time.process_time() - start})
        _release()
        write_json(folder / TRAINED, description)

    def _predict(self, step: TrainingStep, seed: int) -> Predictions:
        folder = self._folder(step, seed)
        return evaluate_once(folder, self._tests, folder / "test", self.device)

    @cached_property
    def _tests(self) -> EvaluationSet:
        return EvaluationSet(self.tests, self.labels)

    def _finished(self, step: TrainingStep, seed: int) -> Run:
        folders = [self._folder(one, seed) for one in step.chain]
        results = tuple(json.loads((folder / TRAIN_RESULTS).read_text(encoding="utf-8")) for folder in folders)
        costs: list[Any] = [(read_json(folder / COST) or {}).get("cpu_seconds") for folder in folders]
        cpu_seconds = None if None in costs else sum(costs)
        return Run(seed, folders[-1], self._predict(step, seed), results, cpu_seconds)


def _release() -> None:
    """Free the GPU memory of the last trainer, which reference cycles keep alive."""
    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()
