# SPDX-License-Identifier: Apache-2.0
"""A table as Markdown, LaTeX, CSV and JSON; figures in per cent, as the papers print them, and in JSON from 0 to 1."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

from mser_llm.io.atomic_files import atomic_open
from mser_llm.reproduction.formatting import format_points
from mser_llm.reproduction.table import Difference, Line, MetricValue, Table


_WORDS = ("system", "by", "backbones", "trained on", "tested on", "classes", "runs")
_COMPARED = ("choice", "without", "with", "metric", "difference", "95 %", "p", "p (Holm)", "paper")
_SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "−": r"$-$", "–": "--"}
_SPECIAL |= {"±": r"$\pm$"} | {character: f"\\{character}" for character in "&%$#_{}"}


def write_table(table: Table, folder: Path, name: str) -> str:
    """Writes `NAME.md`, `.tex`, `.csv` and `.json`, each whole or not at all; returns the Markdown."""
    folder.mkdir(parents=True, exist_ok=True)
    text = markdown(table)
    contents = {"md": text, "tex": latex(table), "csv": comma_separated(table), "json": as_json(table)}
    for suffix, content in contents.items():
        with atomic_open(folder / f"{name}.{suffix}") as file:
            file.write(content)
    return text


def markdown(table: Table) -> str:
    """The lines, the differences and the notes."""
    parts = [f"# {table.title}", "", "In per cent: mean ± standard deviation over runs [95 % interval].", ""]
    parts += _pipes(_header(table), _rows(table), len(_WORDS))
    if table.differences:
        parts += ["", "In percentage points, with the choice less without it, on the same clips:", ""]
        parts += _pipes(_COMPARED, [_compared(one) for one in table.differences], 4)
    parts += ["", *(f"- {note}" for note in table.notes)]
    return "\n".join(parts) + "\n"


def latex(table: Table) -> str:
    """Two `tabular`s and the notes as an `itemize`; they need no package."""
    parts = [f"% {table.title}", *_tabular(_header(table), _rows(table))]
    if table.differences:
        parts += ["", *_tabular(_COMPARED, [_compared(one) for one in table.differences])]
    if table.notes:
        parts += ["", r"\begin{itemize}", *(rf"\item {_escaped(note)}" for note in table.notes), r"\end{itemize}"]
    return "\n".join(parts) + "\n"


def comma_separated(table: Table) -> str:
    """One line a system, every part of a figure in a column of its own, from 0 to 1."""
    parts = ("mean", "std", "low", "high")
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(
        [*_WORDS, "place", "leak", *table.further, *(f"{metric}_{part}" for metric in table.metrics for part in parts)]
    )
    for line in table.lines:
        figures = [line.figures.get(metric) for metric in table.metrics]
        numbers = [None if figure is None else getattr(figure, part) for figure in figures for part in parts]
        told = [line.further.get(name, "") for name in table.further]
        writer.writerow([*_words(line), line.place, line.leak, *told, *(_plain(number) for number in numbers)])
    return file.getvalue()


def as_json(table: Table) -> str:
    """Everything, unrounded."""
    return json.dumps(table.as_dict(), indent=2, ensure_ascii=False) + "\n"


def _header(table: Table) -> list[str]:
    return [*_WORDS, *table.further, *table.metrics]


def _rows(table: Table) -> list[list[str]]:
    return [_cells(line, table.further, table.metrics) for line in table.lines]


def _words(line: Line) -> list[str]:
    runs = "not stated" if line.runs is None else str(line.runs)
    return [line.system, line.by, line.backbones, line.trained_on, line.tested_on, str(line.classes), runs]


def _cells(line: Line, further: Sequence[str], metrics: Sequence[str]) -> list[str]:
    words = _words(line)
    if line.leak:
        words[0] += " (LEAK)"
    words += [line.further.get(name, "–") for name in further]
    return [*words, *(_figure(line.figures.get(metric)) for metric in metrics)]


def _figure(figure: MetricValue | None) -> str:
    if figure is None:
        return "–"
    text = f"{100 * figure.mean:.1f}"
    if figure.std is not None:
        text += f" ± {100 * figure.std:.1f}"
    if figure.low is not None and figure.high is not None:
        text += f" [{100 * figure.low:.1f}, {100 * figure.high:.1f}]"
    return text


def _compared(one: Difference) -> list[str]:
    sure = "–" if one.low is None or one.high is None else f"[{format_points(one.low)}, {format_points(one.high)}]"
    numbers = [f"{value:.3f}" if value is not None else "–" for value in (one.p, one.p_holm)]
    paper = "–" if one.published is None else format_points(one.published)
    return [one.choice, one.without, one.having, one.metric, format_points(one.difference), sure, *numbers, paper]


def _pipes(header: Sequence[str], rows: Sequence[Sequence[str]], text_columns: int) -> list[str]:
    rule = ["---"] * text_columns + ["---:"] * (len(header) - text_columns)
    return [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in (header, rule, *rows)]


def _tabular(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [" & ".join(_escaped(cell) for cell in row) + r" \\" for row in (header, *rows)]
    begin = rf"\begin{{tabular}}{{{'l' * len(header)}}}"
    return [begin, r"\hline", lines[0], r"\hline", *lines[1:], r"\hline", r"\end{tabular}"]


def _escaped(text: str) -> str:
    return "".join(_SPECIAL.get(character, character) for character in text)


def _plain(number: float | None) -> str:
    return "" if number is None else f"{number:.6f}"
