# SPDX-License-Identifier: Apache-2.0
"""Write a table as Markdown, LaTeX, CSV and JSON; percentages as in the papers, and 0 to 1 in CSV and JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from mser_llm.evaluation.tables import escape_latex, format_table, write_csv
from mser_llm.io.atomic_files import atomic_open
from mser_llm.reproduction.formatting import format_points
from mser_llm.reproduction.table import Difference, Line, MetricValue, Table


_TEXT_COLUMNS = ("system", "by", "backbones", "trained on", "tested on", "classes", "runs")
_DIFFERENCE_COLUMNS = ("choice", "without", "with", "metric", "difference", "95 %", "p", "p (Holm)", "paper")
_PARTS = ("mean", "std", "low", "high")


def write_table(table: Table, folder: Path, name: str) -> str:
    """Write `NAME.md`, `.tex`, `.csv` and `.json`, each atomically; return the Markdown."""
    folder.mkdir(parents=True, exist_ok=True)
    text = markdown(table)
    contents = {
        "md": text,
        "tex": latex(table),
        "json": json.dumps(asdict(table), indent=2, ensure_ascii=False) + "\n",
    }
    for suffix, content in contents.items():
        with atomic_open(folder / f"{name}.{suffix}") as file:
            file.write(content)
    columns = [f"{metric}_{part}" for metric in table.metrics for part in _PARTS]
    rows = [_csv_row(line, table) for line in table.lines]
    write_csv(folder / f"{name}.csv", [*_TEXT_COLUMNS, "place", "leak", *table.further, *columns], rows)
    return text


def markdown(table: Table) -> str:
    """Format the lines, the differences and the notes as Markdown."""
    lines, differences = _format(table, "markdown")
    parts = [f"# {table.title}", "", "In percent: mean ± standard deviation over runs [95 % interval].", "", lines]
    if table.differences:
        title = "In percentage points, with the choice minus without it, on the same clips:"
        parts += ["", title, "", differences]
    return "\n".join([*parts, "", *(f"- {note}" for note in table.notes)]) + "\n"


def latex(table: Table) -> str:
    """Format the lines and the differences as two `tabular`s, and the notes as an `itemize`."""
    lines, differences = _format(table, "latex")
    parts = [f"% {table.title}", lines, *(["", differences] if table.differences else [])]
    if table.notes:
        items = [rf"\item {escape_latex(note)}" for note in table.notes]
        parts += ["", r"\begin{itemize}", *items, r"\end{itemize}"]
    return "\n".join(parts) + "\n"


def _format(table: Table, style: Literal["markdown", "latex"]) -> tuple[str, str]:
    """Format the lines, and the differences."""
    headers = [*_TEXT_COLUMNS, *table.further, *table.metrics]
    lines = [_cells(line, table.further, table.metrics) for line in table.lines]
    differences = [_difference_cells(one) for one in table.differences]
    return (
        format_table(headers, lines, style, text_columns=range(len(_TEXT_COLUMNS))),
        format_table(_DIFFERENCE_COLUMNS, differences, style, text_columns=range(4)) if differences else "",
    )


def _text_cells(line: Line) -> list[str]:
    runs = "not stated" if line.runs is None else str(line.runs)
    return [line.system, line.by, line.backbones, line.trained_on, line.tested_on, str(line.classes), runs]


def _cells(line: Line, further: Sequence[str], metrics: Sequence[str]) -> list[str]:
    texts = _text_cells(line)
    if line.leak:
        texts[0] += " (LEAK)"
    texts += [line.further.get(name, "–") for name in further]
    return [*texts, *(_format_value(line.figures.get(metric)) for metric in metrics)]


def _csv_row(line: Line, table: Table) -> dict[str, Any]:
    row: dict[str, Any] = dict(zip(_TEXT_COLUMNS, _text_cells(line)), place=line.place, leak=line.leak)
    row |= {name: line.further.get(name, "") for name in table.further}
    for metric in table.metrics:
        value = line.figures.get(metric)
        for part in _PARTS:
            number = None if value is None else getattr(value, part)
            row[f"{metric}_{part}"] = "" if number is None else f"{number:.6f}"
    return row


def _format_value(value: MetricValue | None) -> str:
    if value is None:
        return "–"
    text = f"{100 * value.mean:.1f}"
    if value.std is not None:
        text += f" ± {100 * value.std:.1f}"
    if value.low is not None and value.high is not None:
        text += f" [{100 * value.low:.1f}, {100 * value.high:.1f}]"
    return text


def _difference_cells(one: Difference) -> list[str]:
    interval = "–" if one.low is None or one.high is None else f"[{format_points(one.low)}, {format_points(one.high)}]"
    numbers = [f"{value:.3f}" if value is not None else "–" for value in (one.p, one.p_holm)]
    paper = "–" if one.published is None else format_points(one.published)
    return [one.choice, one.without, one.having, one.metric, format_points(one.difference), interval, *numbers, paper]
