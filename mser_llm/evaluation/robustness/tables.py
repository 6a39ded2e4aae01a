# SPDX-License-Identifier: Apache-2.0
"""Write the metrics under all conditions as JSON, CSV, Markdown and a picture."""

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from mser_llm.evaluation.metrics.emotion_metrics import METRICS
from mser_llm.evaluation.plots import write_png
from mser_llm.evaluation.robustness.plots import robustness_figure
from mser_llm.evaluation.tables import (
    DIFFERENCE_COLUMNS,
    difference_cells,
    format_table,
    metric_values,
    metric_with_interval,
    write_csv,
)
from mser_llm.io.atomic_files import atomic_open, write_json


def write_robustness(results: Mapping[str, Any], output_dir: str | PathLike) -> Path:
    """Write `robustness.json`, `.csv`, `.png` and `.md` as atomic files and return the path of the last.

    Args:
        results: the result of `robustness_metrics`, `leak` and, for the clips of --others, `lent_leak` as in
            `LeakReport.as_dict`, and any further keys for the JSON file.
        output_dir: an existing directory.
    """
    output = Path(output_dir)
    write_json(output / "robustness.json", results)
    bounds = [f"{metric}_{end}" for metric in METRICS for end in ("low", "high")]
    columns = ["corpus", "condition", "level", "n", "touched", "unanswered", *METRICS, *bounds, *DIFFERENCE_COLUMNS]
    rows = [_csv_row(corpus, "clean", "", entry) for corpus, entry in results["clean"].items()]
    rows += [
        _csv_row(corpus, name, level["level"], entry)
        for name, condition in results["conditions"].items()
        for level in condition["levels"]
        for corpus, entry in level["corpora"].items()
    ]
    write_csv(output / "robustness.csv", columns, rows)
    write_png(robustness_figure(results), output / "robustness.png")
    with atomic_open(output / "robustness.md") as file:
        file.write(markdown(results))
    return output / "robustness.md"


def markdown(results: Mapping[str, Any]) -> str:
    """Format leaks and the table of each corpus."""
    leak, lent = results.get("leak", {}), results.get("lent_leak", {})
    parts = []
    if leak.get("found"):
        parts.append(
            f"Leak: the model was trained on speakers or recordings of {leak['clips']} of {leak['tested']} clips."
        )
    if leak.get("mark"):
        parts.append(f"{leak['mark'][0].upper()}{leak['mark'][1:]}.")
    for corpus, clean in results["clean"].items():
        entries = [
            (condition, level, level["corpora"][corpus])
            for condition in results["conditions"].values()
            for level in condition["levels"]
        ]
        cells = []
        for condition, level, entry in entries:
            title = condition["title"] + (f", {condition['axis']}" if condition["axis"] else "")
            difference, _, adjusted = difference_cells(entry["against_clean"])
            cells.append(
                [title, _level(condition, level, entry), metric_with_interval(entry, "UA"), difference, adjusted]
            )
        note = "Brackets: 95 % intervals. p: two-sided, paired bootstrap over speakers."
        if any(entry["unanswered"] for *_, entry in entries):
            note += " Unreadable: the clip could not be read under the condition; UA is that of the other clips."
        parts += [
            f"## {corpus}, {clean['n']} clips",
            f"Unchanged clips: UA {metric_with_interval(clean, 'UA')}",
            format_table(["condition", "level", "UA", "difference to unchanged clips", "p (Holm)"], cells),
            note,
        ]
    if lent.get("found"):
        parts.append(
            f"Leak: the model was trained on speakers or recordings of {lent['clips']} of {lent['tested']} clips from "
            "--others, which makes clips joined with them easier."
        )
    return "\n\n".join(parts) + "\n"


def _level(condition: Mapping[str, Any], level: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    text = f"{level['level']:g}" if condition["axis"] else ""
    if entry["touched"] < entry["n"]:
        text += f" ({entry['touched']} clips changed)"
    if entry["unanswered"]:
        text += f" ({entry['unanswered']} clips unreadable)"
    return text.strip()


def _csv_row(corpus: str, condition: str, level: float | str, entry: Mapping[str, Any]) -> dict[str, Any]:
    counts = {key: entry.get(key) for key in ("n", "touched", "unanswered")}
    row = {"corpus": corpus, "condition": condition, "level": level, **counts}
    return row | metric_values(entry, entry.get("against_clean"))
