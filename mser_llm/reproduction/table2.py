# SPDX-License-Identifier: Apache-2.0
"""Table II of the paper: the effect of other languages, of the contrast and of the second stage."""

from collections.abc import Mapping, Sequence
from typing import Any

from mser_llm.evaluation.protocols import PROTOCOLS
from mser_llm.reproduction.published import METRICS, TABLE_2_NOTES, TABLE_2_PROTOCOL, published_rows
from mser_llm.reproduction.runs import Experiment, Run, runs_line
from mser_llm.reproduction.systems import EFFECTS, SYSTEMS
from mser_llm.reproduction.table import Line, Table, differences, published_line, summarize_effects
from mser_llm.reproduction.writers import write_table


def write_table2(experiment: Experiment, seeds: Sequence[int]) -> str:
    """Train and evaluate the six systems, and write `table2.md`, `.tex`, `.csv` and `.json`."""
    runs = experiment.run(SYSTEMS.values(), seeds)
    return write_table(table2(experiment, runs), experiment.folder, "table2")


def table2(experiment: Experiment, runs: Mapping[str, Sequence[Run]]) -> Table:
    """Build the table of finished runs: our line and the paper's for each system."""
    paper = published_rows(TABLE_2_PROTOCOL, "Table II")
    protocol = PROTOCOLS[TABLE_2_PROTOCOL]
    predictions = {name: [run.predictions for run in own] for name, own in runs.items()}
    lines: list[Line] = []
    published: dict[str, Line] = {}
    for name, system in SYSTEMS.items():
        trained_on = "English corpora" if system.data == "English" else f"{system.data} (M5SER)"
        published[name] = published_line(paper[name], "IEMOCAP", len(protocol.labels), trained_on)
        lines += [runs_line(name, runs[name], leak=experiment.leak_mark), published[name]]
    found = differences(EFFECTS, predictions, published)
    return Table(
        title="Table II: English or multilingual, with and without contrast, in one stage or two",
        lines=lines,
        metrics=METRICS,
        differences=found,
        notes=[
            *summarize_effects(found, ("UA", "WA")),
            *caveats(experiment, runs),
            *TABLE_2_NOTES,
        ],
        configuration={"labels": list(experiment.labels.words), "seeds": [run.seed for run in runs["SER"]]}
        | {"leak": experiment.leak.as_dict(), "runs": {name: _each(own) for name, own in runs.items()}},
    )


def caveats(experiment: Experiment, runs: Mapping[str, Sequence[Run]]) -> list[str]:
    """Describe what of our own setup limits the comparison."""
    steps = {name: sum(one["log_history"][-1]["step"] for one in own[0].training) for name, own in runs.items()}
    listed = ", ".join(f"{name} {count}" for name, count in steps.items())
    notes = [f"Training steps: {listed}. The systems differ in them too, because the recipes count epochs."]
    predictions = runs["SER"][0].predictions
    speakers = len(set(predictions.speakers) - {None})
    notes.append(
        f"The intervals are over speakers and seeds; they are based on {speakers} speakers and "
        f"{len(runs['SER'])} seed(s)."
    )
    if experiment.leak.found:
        notes.append(f"LEAK, allowed by --allow_leak: {experiment.leak}.")
    notes += experiment.leak.unchecked
    return notes


def _each(own: Sequence[Run]) -> list[dict[str, Any]]:
    return [{"seed": run.seed, "folder": str(run.folder), **run.predictions.metrics()} for run in own]
