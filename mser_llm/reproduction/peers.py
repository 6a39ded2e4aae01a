# SPDX-License-Identifier: Apache-2.0
"""Compare MSER, two neighbouring methods and combinations of their parts, on the same speech and budget."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mser_llm.evaluation.protocols import PROTOCOLS
from mser_llm.evaluation.protocols.training_record import TRAIN_RESULTS
from mser_llm.reproduction.evaluation_cache import read_json
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
from mser_llm.reproduction.runs import Experiment, Recipe, Run, concatenate_folds, runs_line
from mser_llm.reproduction.systems import System
from mser_llm.reproduction.table import Line, Table, differences, low_resource_lines, summarize_effects
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
        """Train and evaluate, and write `peers.md`, `.tex`, `.csv` and `.json`."""
        known = PEERS | COMBINATIONS
        if unknown := [name for name in names if name not in known]:
            raise ValueError(f"--systems: there is no {unknown[0]!r}; there are {', '.join(map(repr, known))}")
        systems = {name: known[name] for name in known if name in names or not names}
        held_out = self._held_out({name: system for name, system in systems.items() if name in COMBINATIONS})
        runs = replace(self.experiment, recipe=self.recipe(0)).run(systems.values(), self.seeds)
        lines = [self._line(systems[name], own, held_out.get(name)) for name, own in runs.items()]
        lines += self._upper_bounds() if FROZEN in systems else []
        published = self._published()
        lines += published
        predictions = {name: [run.predictions for run in own] for name, own in runs.items()}
        best = max(held_out, key=held_out.__getitem__) if held_out else ""
        compared = [one for one in effects(best) if one.without in runs and one.having in runs]
        # With several test corpora, the systems have no single published line.
        paper = {line.system: line for line in published if len(self.experiment.tests) == 1}
        found = differences(compared, predictions, paper, METRICS[:2])
        table = Table(
            title="MSER and its neighbours: one budget, one encoder, a language that none was trained on",
            lines=lines,
            metrics=METRICS,
            differences=found,
            notes=[*summarize_effects(found), *self._caveats(best)],
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
        return runs_line(system.name, own, METRICS, leak=self.experiment.leak_mark, further=further)

    def _upper_bounds(self) -> list[Line]:
        """Train the frozen encoder on other speakers of each test corpus, with its labels."""
        lines = []
        for corpus, rows in self.experiment.tests.items():
            protocol = PROTOCOLS.get(f"{corpus}-4-5fold")
            if protocol is None or self.experiment.labels != LABEL_SETS["four"]:
                continue
            parts: list[list[Run]] = []
            for fold in protocol.folds(rows, ()):
                folder = self.experiment.folder / "upper-bound" / corpus / fold.name
                inside = replace(
                    self.experiment,
                    recipe=self.recipe(0),
                    training=fold.train,
                    tests={corpus: fold.test},
                    folder=folder,
                )
                parts += inside.run([PEERS[FROZEN]], self.seeds).values()
            name = f"upper bound: {FROZEN} trained on {corpus}"
            further = {LABELS_OF: f"{corpus}, other speakers", CLIPS: str(self.budget)}
            lines.append(runs_line(name, concatenate_folds(parts), METRICS, fold.name, further=further))
        return lines

    def _published(self) -> list[Line]:
        """Build the second paper's lines for the test corpora."""
        return [
            replace(line, system=PUBLISHED[system], further={LABELS_OF: "English"})
            for corpus in self.experiment.tests
            for system, line in low_resource_lines(corpus).items()
        ]

    def _caveats(self, best: str) -> list[str]:
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


def _each(run: Run) -> dict[str, Any]:
    return {"seed": run.seed, "folder": str(run.folder), "cpu_seconds": run.cpu_seconds, **run.predictions.metrics()}
