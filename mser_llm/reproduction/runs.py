# SPDX-License-Identifier: Apache-2.0
"""Trains and measures what a table needs, each step once, and goes on where it was cut off."""

import gc
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from mser_llm.data.clips import Clip, index_clips
from mser_llm.evaluation.predictions import Predictions
from mser_llm.evaluation.protocols import LeakReport, check_leak
from mser_llm.evaluation.protocols.training_record import TRAIN_RESULTS
from mser_llm.io.atomic_files import write_json
from mser_llm.reproduction.evaluation_cache import WEIGHTS, EvaluationSet, evaluate_once, read_json
from mser_llm.reproduction.systems import System, TrainingStep, steps_of
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
# Step, seed, the folder of the run, the folder that it goes on from.
Recipe = Callable[[Any, int, Path, Path | None], Settings]


@dataclass(frozen=True)
class Run:
    """A system trained with one seed and measured.

    Attributes:
        seed: of the training.
        folder: of the model.
        predictions: over all tested clips.
        training: what `train_results.json` of each of its steps holds, the last step's last.
        cpu_seconds: of processor time of all steps, features that were not yet cached included; None where a step was
            cut off and went on.
    """

    seed: int
    folder: Path
    predictions: Predictions
    training: tuple[Mapping[str, Any], ...]
    cpu_seconds: float | None


@dataclass(frozen=True)
class Experiment:
    """Systems trained on the same speech and measured on the same speech.

    Attributes:
        recipe: gives the settings of a step.
        training: rows of all training corpora.
        tests: name and rows of each tested corpus.
        labels: the candidate words, in training and in test.
        folder: where runs go, each into `seedN/STEP`.
        device: as `load_model` takes it.
        allow_leak: measure although training heard what is tested, and mark the result.
    """

    recipe: Recipe
    training: Sequence[Row]
    tests: Mapping[str, Sequence[Row]]
    labels: LabelSet
    folder: Path
    device: str = "auto"
    allow_leak: bool = False

    def train(self, systems: Iterable[System], seeds: Sequence[int]) -> dict[str, list[Path]]:
        """The folders of the trained systems by their names, in the order of the seeds; each is measured when trained.

        What an earlier call finished is taken from the folder: trainings of the same settings, clips and earlier
        steps, and predictions of the same weights for the same clips and words. A training that was cut off goes on
        from its last checkpoint.

        Raises:
            ValueError: a folder holds a run with other settings.
            SpeakerLeakError: training heard what is tested.
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
        """
        Check the settings of every training, and that none trains on what is tested, before hours of training.

        Raises:
            ValueError: a recipe that cannot be used.
            SpeakerLeakError: training heard what is tested.
        """
        for step in steps_of(systems):
            for seed in seeds:
                self._settings(step, seed)
        self.leak  # noqa: B018 - raises

    def run(self, systems: Iterable[System], seeds: Sequence[int]) -> dict[str, list[Run]]:
        """The runs of each system by its name, in the order of the seeds: `train`, and its predictions."""
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
        """What training and test share.

        Raises:
            SpeakerLeakError: something, and it is not allowed.
        """
        known = [
            [row for row in rows if self.labels.map(row["emotion"]) is not None]
            for rows in (self.training, *self.tests.values())
        ]
        return check_leak(known[0], [row for rows in known[1:] for row in rows], allow=self.allow_leak)

    @cached_property
    def _training_clips(self) -> list[Clip]:
        # Also those without one of the words: contrast and BYOL train on them.
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
            # A record that was damaged since, and weights that went, are written anew, by a training that goes on from
            # its last checkpoint.
            if read_json(folder / TRAIN_RESULTS) is not None and (folder / WEIGHTS).is_file():
                return
        elif found is not None and (found | {"after": None}) == (description | {"after": None}):
            raise ValueError(
                f"{folder} goes on from an earlier step that was trained otherwise; delete it, or give another "
                "--output_dir"
            )
        unbroken, start = last_checkpoint(folder) is None, time.process_time()
        train(self.training, *self._settings(step, seed))
        write_json(folder / COST, {"cpu_seconds": time.process_time() - start if unbroken else None})
        _release()
        write_json(folder / TRAINED, description)

    def _predict(self, step: TrainingStep, seed: int) -> Predictions:
        folder = self._folder(step, seed)
        return evaluate_once(folder, self._tests, folder / "test", self.device)

    @cached_property
    def _tests(self) -> EvaluationSet:
        return EvaluationSet(self.tests, self.labels)

    def _finished(self, step: TrainingStep, seed: int) -> Run:
        results = [
            json.loads((self._folder(one, seed) / TRAIN_RESULTS).read_text(encoding="utf-8")) for one in step.chain
        ]
        costs = [(read_json(self._folder(one, seed) / COST) or {}).get("cpu_seconds") for one in step.chain]
        known = [cost for cost in costs if cost is not None]
        cpu_seconds = sum(known) if len(known) == len(costs) else None
        return Run(seed, self._folder(step, seed), self._predict(step, seed), tuple(results), cpu_seconds)


def _release() -> None:
    """A trainer holds its model in cycles, which would still fill an accelerator when the next one is built."""
    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()
