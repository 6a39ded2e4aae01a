# SPDX-License-Identifier: Apache-2.0
"""Table II of the paper: the effect of other languages, of the contrast and of the second stage."""

from collections.abc import Mapping, Sequence
from typing import Any

from mser_llm.evaluation.protocols import PROTOCOLS
from mser_llm.reproduction.formatting import format_backbones, format_test, format_training
from mser_llm.reproduction.published import METRICS, TABLE_2_NOTES, TABLE_2_PROTOCOL, published_rows
from mser_llm.reproduction.runs import Experiment, Run
from mser_llm.reproduction.systems import EFFECTS, SYSTEMS
from mser_llm.reproduction.table import Line, Table, differences, measured_line, published_line, summarize_effect
from mser_llm.reproduction.writers import write_table


def write_table2(experiment: Experiment, seeds: Sequence[int]) -> str:
    """
    Train and evaluate the six systems, and write `table2.md`, `.tex`, `.csv` and `.json`.

    Args:
        experiment: training and test speech.
        seeds: of the trainings, at least one.

    Returns:
        The Markdown.
    """
    runs = experiment.run(SYSTEMS.values(), seeds)
    return write_table(table2(experiment, runs), experiment.folder, "table2")


def table2(experiment: Experiment, runs: Mapping[str, Sequence[Run]]) -> Table:
    """Build the table of finished runs: our line and the paper's for each system."""
    paper = published_rows(TABLE_2_PROTOCOL, "Table II")
    protocol = PROTOCOLS[TABLE_2_PROTOCOL]
    predictions = {name: [run.predictions for run in own] for name, own in runs.items()}
    lines: list[Line] = []
    for name, system in SYSTEMS.items():
        first = runs[name][0]
        lines.append(
            measured_line(
                name,
                predictions[name],
                format_backbones(first.folder),
                format_training(first.training),
                format_test(first.predictions),
                leak=str(experiment.leak) if experiment.leak.found else "",
            )
        )
        trained_on = "English corpora" if system.data == "English" else f"{system.data} (M5SER)"
        lines.append(published_line(paper[name], "IEMOCAP", len(protocol.labels), trained_on))
    values = {name: {number.metric: number.value for number in rows} for name, rows in paper.items()}
    found = differences(EFFECTS, predictions, values)
    choices = list(dict.fromkeys(effect.choice for effect in EFFECTS))
    return Table(
        title="Table II: English or multilingual, with and without contrast, in one stage or two",
        lines=lines,
        metrics=METRICS,
        differences=found,
        notes=[
            *(summarize_effect(choice, metric, found) for metric in ("UA", "WA") for choice in choices),
            *caveats(experiment, runs),
            *TABLE_2_NOTES,
        ],
        configuration={"labels": list(experiment.labels.words), "seeds": [run.seed for run in runs["SER"]]}
        | {"leak": experiment.leak.as_dict(), "runs": {name: _each(own) for name, own in runs.items()}},
    )


def caveats(experiment: Experiment, runs: Mapping[str, Sequence[Run]]) -> list[str]:
    """Describe what of our own setup limits the comparison."""
    steps = {name: sum(_steps(results) for results in own[0].training) for name, own in runs.items()}
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


def _steps(results: Mapping[str, Any]) -> int:
    return int(results["log_history"][-1]["step"])


def _each(own: Sequence[Run]) -> list[dict[str, Any]]:
    return [{"seed": run.seed, "folder": str(run.folder), **run.predictions.metrics()} for run in own]
