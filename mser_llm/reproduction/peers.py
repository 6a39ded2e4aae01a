# SPDX-License-Identifier: Apache-2.0
"""Compare MSER, two neighbouring methods and combinations of their parts, on the same speech and budget."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mser_llm.evaluation.predictions import Predictions
from mser_llm.evaluation.protocols import PROTOCOLS
from mser_llm.evaluation.protocols.training_record import TRAIN_RESULTS
from mser_llm.reproduction.evaluation_cache import read_json
from mser_llm.reproduction.formatting import format_backbones, format_test, format_training
from mser_llm.reproduction.peer_systems import (
    ALL,
    BASELINE,
    BYOL,
    COMBINATIONS,
    FROZEN,
    PEERS,
    SPEAKER_CONTRAST,
    effects,
)
from mser_llm.reproduction.published import LOW_RESOURCE, LOW_RESOURCE_BACKBONE, LOW_RESOURCE_TABLE_1_SPEECH
from mser_llm.reproduction.runs import Experiment, Recipe, Run
from mser_llm.reproduction.systems import Effect, System
from mser_llm.reproduction.table import Line, Table, differences, measured_line, published_line, summarize_effect
from mser_llm.reproduction.writers import write_table
from processing_mser import LABEL_SETS


METRICS = ("UA", "WA", "macro_F1")
LABELS_OF, CLIPS, COST, HELD_OUT = "emotion labels", "clips drawn", "CPU min a seed", "UA held out"
HELD_OUT_SHARE = 0.15
# The systems of the second paper under its own names.
PUBLISHED = {"Baseline": BASELINE, "Contrastive": SPEAKER_CONTRAST, "BYOL": BYOL}


@dataclass(frozen=True)
class PeerExperiment:
    """
    Attributes:
        experiment: training and test speech; its recipe is not used.
        recipe: returns the settings for a share of held-out speakers (0: none are held out).
        budget: clips drawn in the training of a system, over all its steps. Views of a clip count as that clip; their
            cost is in another column.
        seeds: of the trainings, at least one.
    """

    experiment: Experiment
    recipe: Callable[[float], Recipe]
    budget: int
    seeds: Sequence[int]

    def write(self, names: Sequence[str] = ()) -> str:
        """
        Train and evaluate, and write `peers.md`, `.tex`, `.csv` and `.json`.

        Args:
            names: of the systems; by default all.

        Returns:
            the Markdown.

        Raises:
            ValueError: an unknown system.
        """
        known = PEERS | COMBINATIONS
        if unknown := [name for name in names if name not in known]:
            raise ValueError(f"--systems: there is no {unknown[0]!r}; there are {', '.join(map(repr, known))}")
        systems = {name: known[name] for name in known if name in names or not names}
        held_out = self._held_out({name: system for name, system in systems.items() if name in COMBINATIONS})
        runs = replace(self.experiment, recipe=self.recipe(0)).run(systems.values(), self.seeds)
        lines = [self._line(systems[name], own, held_out.get(name)) for name, own in runs.items()]
        lines += self._upper_bounds() if FROZEN in systems else []
        lines += self._published()
        predictions = {name: [run.predictions for run in own] for name, own in runs.items()}
        best = max(held_out, key=held_out.__getitem__) if held_out else ""
        compared = [one for one in effects(best) if one.without in runs and one.having in runs]
        found = differences(compared, predictions, _published_figures(self.experiment.tests), METRICS[:2])
        choices = list(dict.fromkeys(effect.choice for effect in compared))
        table = Table(
            title="MSER and its neighbours: one budget, one encoder, a language that none was trained on",
            lines=lines,
            metrics=METRICS,
            differences=found,
            notes=[*(summarize_effect(choice, "UA", found) for choice in choices), *self._caveats(best, compared)],
            configuration={
                "labels": list(self.experiment.labels.words),
                "seeds": list(self.seeds),
                "budget": self.budget,
                "best_combination": best or None,
                "held_out_UA": held_out,
                "runs": {name: [_each(run) for run in own] for name, own in runs.items()},
            },
        )
        return write_table(table, self.experiment.folder, "peers")

    def _held_out(self, combinations: Mapping[str, System]) -> dict[str, float]:
        """Compute the mean UA of each combination on held-out speakers of the training corpora."""
        if not combinations:
            return {}
        folder = self.experiment.folder / "held-out"
        choosing = replace(self.experiment, recipe=self.recipe(HELD_OUT_SHARE), tests={}, folder=folder)
        trained = choosing.train(combinations.values(), self.seeds)
        return {
            name: statistics.fmean(read_json(folder / TRAIN_RESULTS)["validation"]["eval_UA"] for folder in folders)
            for name, folders in trained.items()
        }

    def _line(self, system: System, own: Sequence[Run], held_out: float | None) -> Line:
        costs = [run.cpu_seconds for run in own if run.cpu_seconds is not None]
        further = {
            LABELS_OF: system.data,
            CLIPS: str(self.budget),
            # The first seed may have filled the cache with features for all.
            COST: f"{statistics.median(costs) / 60:.1f}" if costs else "–",
        }
        if held_out is not None:
            further[HELD_OUT] = f"{100 * held_out:.1f}"
        leak = self.experiment.leak
        return measured_line(
            system.name,
            [run.predictions for run in own],
            format_backbones(own[0].folder),
            format_training(own[0].training),
            format_test(own[0].predictions),
            METRICS,
            str(leak) if leak.found else "",
            further,
        )

    def _upper_bounds(self) -> list[Line]:
        """Train the frozen encoder on other speakers of each test corpus, with its labels."""
        lines = []
        for corpus, rows in self.experiment.tests.items():
            protocol = PROTOCOLS.get(f"{corpus}-4-5fold")
            if protocol is None or self.experiment.labels != LABEL_SETS["four"]:
                continue
            parts: list[list[Predictions]] = [[] for _ in self.seeds]
            for fold in protocol.folds(rows, ()):
                folder = self.experiment.folder / "upper-bound" / corpus / fold.name
                inside = replace(
                    self.experiment,
                    recipe=self.recipe(0),
                    training=fold.train,
                    tests={corpus: fold.test},
                    folder=folder,
                )
                runs = inside.run([PEERS[FROZEN]], self.seeds)[FROZEN]
                for part, run in zip(parts, runs, strict=True):
                    part.append(run.predictions)
            predictions = [Predictions.concatenate(part) for part in parts]
            lines.append(
                measured_line(
                    f"upper bound: {FROZEN} trained on {corpus}",
                    predictions,
                    format_backbones(runs[0].folder),
                    f"{format_training(runs[0].training)} (of {fold.name})",
                    format_test(predictions[0]),
                    METRICS,
                    further={LABELS_OF: f"{corpus}, other speakers", CLIPS: str(self.budget)},
                )
            )
        return lines

    def _published(self) -> list[Line]:
        """Build the second paper's lines for the test corpora."""
        lines = []
        for corpus in self.experiment.tests:
            for system, numbers in _published(corpus).items():
                trained_on = LOW_RESOURCE_TABLE_1_SPEECH[system]
                line = published_line(
                    numbers, corpus, 4, trained_on, backbones=LOW_RESOURCE_BACKBONE, paper=LOW_RESOURCE
                )
                lines.append(replace(line, system=PUBLISHED[system], further={LABELS_OF: "English"}))
        return lines

    def _caveats(self, best: str, compared: Sequence[Effect]) -> list[str]:
        speakers = {row["speaker"] for rows in self.experiment.tests.values() for row in rows} - {None}
        notes = [
            f"Budget: {self.budget} clips drawn in the training of a system, shared by its stages.",
            f"Intervals are over speakers and seeds; they are based on {len(speakers)} speakers and "
            f"{len(self.seeds)} seed(s). CPU minutes are the median over seeds, of training alone where features were "
            "cached.",
            f"{LABELS_OF}: the languages whose emotion labels are used. {SPEAKER_CONTRAST} and {BYOL} train on the "
            f"other language without its labels; systems with {ALL} have more information, whatever their method.",
        ]
        if best:
            notes.append(
                f"The best combination, {best}, was selected by UA on {100 * HELD_OUT_SHARE:.0f} % of the speakers of "
                "the training corpora, held out in separate trainings."
            )
        if self.experiment.leak.found:
            notes.append(f"LEAK, allowed by --allow_leak: {self.experiment.leak}.")
        return [*notes, *self.experiment.leak.unchecked]


def _published(corpus: str) -> dict[str, list[Any]]:
    protocol = PROTOCOLS.get(f"{corpus}-4")
    rows: dict[str, list[Any]] = {}
    for number in protocol.published if protocol else ():
        if number.group is None and number.system in PUBLISHED:
            rows.setdefault(number.system, []).append(number)
    return rows


def _published_figures(tests: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return the published numbers by our system and metric; empty for several test corpora."""
    if len(tests) != 1:
        return {}
    return {
        PUBLISHED[system]: {number.metric: number.value for number in numbers}
        for system, numbers in _published(*tests).items()
    }


def _each(run: Run) -> dict[str, Any]:
    return {"seed": run.seed, "folder": str(run.folder), "cpu_seconds": run.cpu_seconds, **run.predictions.metrics()}
