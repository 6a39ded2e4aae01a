# SPDX-License-Identifier: Apache-2.0
"""Table 1 of the low-resource paper (Gong et al.): baseline, contrastive and BYOL, and the source data of Sec. 4.3.

Each of five folds holds out a part of the English speech, to select the checkpoint, and a part of every test corpus,
to test. So each clip is tested once per seed, by systems that were trained on the same English.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from mser_llm.evaluation.predictions import Predictions
from mser_llm.evaluation.protocols import PROTOCOLS, Fold
from mser_llm.io.errors import InputError
from mser_llm.reproduction.peer_systems import RecipeStep
from mser_llm.reproduction.published import LOW_RESOURCE_TABLE_1, LOW_RESOURCE_TABLE_1_NOTES
from mser_llm.reproduction.runs import Experiment, Recipe, Run, Settings, concatenate_folds, runs_line
from mser_llm.reproduction.systems import Effect, System
from mser_llm.reproduction.table import Line, Table, differences, low_resource_lines, summarize_effects
from mser_llm.reproduction.writers import write_table
from processing_mser import LABEL_SETS


Row = Mapping[str, Any]
METRICS = ("WA", "macro_F1", "UA")
FOLDS = 5
ENGLISH = "en"
UNLABELLED = "unlabelled speech"

BASELINE, CONTRASTIVE, BYOL = "Baseline", "Contrastive", "BYOL"
CONTRASTIVE_TARGET, BYOL_OTHER = "Contrastive, target speech", "BYOL, other speech"
SYSTEMS = {
    BASELINE: "none",
    CONTRASTIVE: "other languages",
    BYOL: "the tested corpus, other speakers",
    CONTRASTIVE_TARGET: "the tested corpus, other speakers",
    BYOL_OTHER: "other languages",
}
"""The systems, and the speech that each trains on without emotion labels."""

EFFECTS = (
    Effect("speaker contrast", BASELINE, CONTRASTIVE),
    Effect("BYOL", BASELINE, BYOL),
    Effect("contrast: the target in place of other languages", CONTRASTIVE, CONTRASTIVE_TARGET),
    Effect("BYOL: the target in place of other languages", BYOL_OTHER, BYOL),
)


# Trainings on the same speech and the same fold, which is the test of the experiment.
Job = tuple[Experiment, list[System]]


@dataclass(frozen=True)
class LowResourceTable:
    """
    Attributes:
        training: English speech with emotions, and speech in other languages, whose emotions are not used.
        tests: rows of each test corpus by its name, one of `LOW_RESOURCE_TABLE_1`.
        recipe: returns the settings of a step, from a family such as `lowresource`.
        seeds: of the trainings, at least one.
        folder: of the runs, in `foldK/seedN/STEP` and `CORPUS/foldK/seedN/STEP`.
        allow_leak: evaluate although training and test overlap, and mark the result.
        device: as for `load_model`.
    """

    training: Sequence[Row]
    tests: Mapping[str, Sequence[Row]]
    recipe: Recipe
    seeds: Sequence[int]
    folder: Path
    allow_leak: bool = False
    device: str = "auto"

    def write(self, names: Sequence[str] = ()) -> str:
        """Train and evaluate, and write `lowresource-table1.md`, `.tex`, `.csv` and `.json`."""
        chosen = self._chosen(names)
        first_stage = self._first_stage_job(chosen)
        jobs = [job for number in range(FOLDS) for job in self._jobs(number, chosen)]
        for experiment, systems in first_stage + jobs:
            experiment.check(systems, self.seeds)
        for experiment, systems in first_stage:
            experiment.train(systems, self.seeds)
        runs: dict[tuple[str, str], list[list[Run]]] = {(name, corpus): [] for name in chosen for corpus in self.tests}
        leaks: dict[str, str] = {}
        for number, (experiment, systems) in enumerate(jobs, 1):
            print(f"Part {number} of {len(jobs)}", flush=True)
            for name, own in experiment.run(systems, self.seeds).items():
                for corpus in experiment.tests:
                    runs[name, corpus].append([_on_corpus(run, corpus) for run in own])
                if experiment.leak.found:
                    leaks[name] = str(experiment.leak)
        return write_table(self._table(runs, leaks), self.folder, "lowresource-table1")

    def _chosen(self, names: Sequence[str]) -> list[str]:
        if unknown := [name for name in names if name not in SYSTEMS]:
            raise InputError("--systems", f"unknown {unknown[0]!r}", f"choose from {', '.join(map(repr, SYSTEMS))}")
        chosen = [name for name in SYSTEMS if name in names or not names]
        other = [corpus for corpus in self.tests if corpus not in LOW_RESOURCE_TABLE_1]
        if other or not self.tests:
            problem = f"tests {', '.join(LOW_RESOURCE_TABLE_1)}, not {', '.join(other) or 'nothing'}"
            raise InputError("lowresource-table1", problem, "pass --test emodb=PATH")
        if not self._english:
            raise InputError("--corpora", "no English speech with emotions", "pass msp-podcast=PATH iemocap=PATH")
        if not self._other_languages and {CONTRASTIVE, BYOL_OTHER} & {*chosen}:
            problem = f"no speech in other languages, which {CONTRASTIVE} and {BYOL_OTHER} train on"
            raise InputError("--corpora", problem, f"add commonvoice=PATH, or pass --systems {BASELINE} {BYOL}")
        return chosen

    @cached_property
    def _english(self) -> list[Row]:
        return [row for row in self.training if row["language"] == ENGLISH]

    @cached_property
    def _other_languages(self) -> list[Row]:
        return [row for row in self.training if row["language"] != ENGLISH]

    @cached_property
    def _folds(self) -> dict[str, list[Fold]]:
        return {
            corpus: PROTOCOLS[f"{corpus}-4-5fold"].folds(rows, allow_leak=self.allow_leak)
            for corpus, rows in self.tests.items()
        }

    def _first_stage_job(self, chosen: Sequence[str]) -> list[Job]:
        """The first stage of the contrast, which is the same in all folds."""
        if CONTRASTIVE not in chosen:
            return []
        first = System(CONTRASTIVE, RecipeStep("voices", "speaker_contrast_stage1"), "")
        return [(self._experiment(self._other_languages, {}, self.folder), [first])]

    def _jobs(self, number: int, chosen: Sequence[str]) -> Iterator[Job]:
        folder, flags = self.folder / f"fold{number + 1}", held_out_english(self._english, number)
        tests = {corpus: folds[number].test for corpus, folds in self._folds.items()}

        def system(name: str, step: RecipeStep) -> list[System]:
            return [System(name, step, SYSTEMS[name])] if name in chosen else []

        english = system(BASELINE, RecipeStep("baseline", "baseline", flags))
        second = RecipeStep("contrastive", "speaker_contrast_stage2", flags)
        english += system(CONTRASTIVE, second)
        if english:
            started = _starting_from(self.recipe, lambda seed: self.folder / f"seed{seed}" / "voices")
            yield self._experiment(self._english, tests, folder, started), english
        if both := system(BYOL_OTHER, RecipeStep("byol-voices", "byol", flags)):
            yield self._experiment([*self._english, *self._other_languages], tests, folder), both
        for corpus, folds in self._folds.items():
            target = folds[number].train
            unlabelled = (*flags, "--unlabelled_corpora", corpus)
            own = system(BYOL, RecipeStep("byol", "byol", unlabelled))
            # Not for English: RAVDESS is not a low-resource corpus.
            if any(row["language"] != ENGLISH for row in target):
                first = RecipeStep("voices", "speaker_contrast_stage1")
                own += system(CONTRASTIVE_TARGET, replace(second, after=first))
            if own:
                fitting = _fitting_speakers(self.recipe, target)
                rows, tested = [*self._english, *target], {corpus: folds[number].test}
                yield self._experiment(rows, tested, self.folder / corpus / folder.name, fitting), own

    def _experiment(
        self, training: Sequence[Row], tests: Mapping[str, Sequence[Row]], folder: Path, recipe: Recipe | None = None
    ) -> Experiment:
        labels = LABEL_SETS["four"]
        return Experiment(recipe or self.recipe, training, tests, labels, folder, self.device, self.allow_leak)

    def _table(self, runs: Mapping[tuple[str, str], list[list[Run]]], leaks: Mapping[str, str]) -> Table:
        lines: list[Line] = []
        by_system: dict[str, list[Predictions]] = {}
        published: dict[str, Line] = {}
        for corpus in self.tests:
            for name, folds in [(name, folds) for (name, tested), folds in runs.items() if tested == corpus and folds]:
                pooled = concatenate_folds(folds, kept=0)
                further = {UNLABELLED: SYSTEMS[name]}
                line = runs_line(
                    f"{name}, {corpus}", pooled, METRICS, "fold1", leak=leaks.get(name, ""), further=further
                )
                lines.append(line)
                by_system[line.system] = [run.predictions for run in pooled]
            for system, line in low_resource_lines(corpus).items():
                published[f"{system}, {corpus}"] = replace(line, system=f"{system}, {corpus}", runs=FOLDS)
                lines.append(published[f"{system}, {corpus}"])
        effects = [
            Effect(one.choice, f"{one.without}, {corpus}", f"{one.having}, {corpus}")
            for one in EFFECTS
            for corpus in self.tests
            if f"{one.without}, {corpus}" in by_system and f"{one.having}, {corpus}" in by_system
        ]
        found = differences(effects, by_system, published, ("UA", "macro_F1"))
        return Table(
            title="Low-resource Table 1: baseline, contrastive and BYOL on corpora without emotion labels in training",
            lines=lines,
            metrics=METRICS,
            differences=found,
            notes=[*summarize_effects(found), *self._caveats(leaks), *LOW_RESOURCE_TABLE_1_NOTES],
            configuration={
                "labels": list(LABEL_SETS["four"].words),
                "seeds": list(self.seeds),
                "folds": FOLDS,
                "runs": {
                    f"{name}, {corpus}": [str(run.folder) for own in folds for run in own]
                    for (name, corpus), folds in runs.items()
                },
            },
        )

    def _caveats(self, leaks: Mapping[str, str]) -> list[str]:
        notes = []
        for corpus, rows in self.tests.items():
            protocol = PROTOCOLS[f"{corpus}-4-5fold"]
            found, expected = sum(protocol.found(rows).values()), sum(protocol.expected.values())
            if found != expected:
                notes.append(f"{corpus}: {found} clips of the labels; the protocol has {expected}.")
        return [*notes, *(f"{name}: LEAK, allowed by --allow_leak: {leak}." for name, leak in leaks.items())]


def _on_corpus(run: Run, corpus: str) -> Run:
    return replace(run, predictions=run.predictions.subset([own == corpus for own in run.predictions.corpora]))


def held_out_english(rows: Sequence[Row], number: int) -> tuple[str, ...]:
    """
    Return the flags that hold out the English part of a fold, to select the checkpoint.

    This is a session of IEMOCAP, and the development part of corpora that have one. Of other English corpora speakers
    are held out, different ones in each fold.
    """
    parts = {row["split"] for row in rows} - {None}
    sessions = sorted(part for part in parts if part.startswith("session"))
    held = sessions[number % len(sessions) : number % len(sessions) + 1] if sessions else []
    validation = [*held, *sorted(parts & {"dev", "development"})]
    if not validation:
        return ("--split_seed", str(number))
    train = [*sorted(parts & {"train"}), *(session for session in sessions if session not in held)]
    return ("--validation_splits", *validation, *(("--train_splits", *train) if train else ()))


def _starting_from(recipe: Recipe, first_stage: Callable[[int], Path]) -> Recipe:
    """Let second stages start from the folder of another experiment, by seed."""

    def settings(step: Any, seed: int, folder: Path, earlier: Path | None) -> Settings:
        if step.recipe == "speaker_contrast_stage2" and earlier is None:
            earlier = first_stage(seed)
        return recipe(step, seed, folder, earlier)

    return settings


def _fitting_speakers(recipe: Recipe, target: Sequence[Row]) -> Recipe:
    """Limit batches of speakers to those there are: EMO-DB has eight in four of its folds."""
    clips: dict[str, int] = {}
    for row in target:
        clips[row["speaker"]] = clips.get(row["speaker"], 0) + 1

    def settings(step: Any, seed: int, folder: Path, earlier: Path | None) -> Settings:
        model, data, training = recipe(step, seed, folder, earlier)
        if training.balance == "speaker":
            available = sum(count >= training.clips_per_speaker for count in clips.values())
            training.speakers_per_batch = min(training.speakers_per_batch, available)
            drawn = training.speakers_per_batch * training.clips_per_speaker
            training.per_device_train_batch_size = drawn * min(data.views, 2)
        return model, data, training

    return settings
