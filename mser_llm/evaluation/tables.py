# SPDX-License-Identifier: Apache-2.0
"""Format tables as Markdown, LaTeX, aligned text and CSV, and the cells that tables of metrics share."""

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from tabulate import tabulate

from mser_llm.evaluation.metrics.emotion_metrics import METRICS
from mser_llm.io.atomic_files import atomic_open


METRIC_NAMES = {"WA": "WA", "UA": "UA", "WF1": "WF1", "macro_F1": "macro-F1", "precision": "precision"}
"""Keys of `emotion_metrics` with their column headings."""
DIFFERENCE_COLUMNS = ("UA_difference", "UA_difference_low", "UA_difference_high", "p", "p_holm")
"""CSV columns of a paired difference."""
_STYLES = {"markdown": "pipe", "latex": "latex_raw", "text": "plain"}
_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "−": "$-$", "–": "--"}
_LATEX |= {"±": r"$\pm$"} | {character: f"\\{character}" for character in "&%$#_{}"}


def format_table(
    headers: Sequence[str],
    rows: Iterable[Sequence[str]],
    style: Literal["markdown", "latex", "text"] = "markdown",
    *,
    text_columns: Iterable[int] = (0,),
) -> str:
    """
    Format a table of finished cells.

    Args:
        headers: one per column.
        rows: cells as text, one per column.
        style: "latex" is a `tabular` that needs no package.
        text_columns: positions of the columns aligned left; all others are aligned right.

    Returns:
        The lines of the table without a closing newline.
    """
    escapes: dict[str, Callable[[str], str]] = {"latex": escape_latex, "text": str}
    escape = escapes.get(style, lambda cell: cell.replace("|", r"\|"))
    lefts = {position % len(headers) for position in text_columns}
    aligned = ["left" if position in lefts else "right" for position in range(len(headers))]
    head, *body = [[escape(cell) for cell in row] for row in (headers, *rows)]
    # tabulate pads headers of plain tables by two more spaces.
    head, body = ([], [head, *body]) if style == "text" else (head, body)
    text = tabulate(body, head, _STYLES[style], disable_numparse=True, colalign=aligned)
    return "\n".join(line.rstrip() for line in text.splitlines())


def escape_latex(text: str) -> str:
    """Replace the characters that LaTeX treats as commands or cannot set."""
    return "".join(_LATEX.get(character, character) for character in text)


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as an atomic CSV file; missing and None values are empty.

    Raises:
        ValueError: a row has a key that is not among `columns`.
    """
    with atomic_open(path) as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def format_metric(value: float | None, std: float | None = None, interval: Sequence[float] | None = None) -> str:
    """Format a metric as `0.812 ± 0.010 [0.771, 0.849]`, or as a dash if it is None."""
    if value is None:
        return "–"
    deviation = "" if std is None else f" ± {std:.3f}"
    return f"{value:.3f}{deviation}" + ("" if interval is None else f" [{interval[0]:.3f}, {interval[1]:.3f}]")


def metric_with_interval(entry: Mapping[str, Any], metric: str) -> str:
    """Format a metric of an entry that has `intervals`, which may be None."""
    return format_metric(entry[metric], interval=(entry["intervals"] or {}).get(metric))


def difference_cells(difference: Mapping[str, Any] | None) -> list[str]:
    """Format a paired difference as three cells: the difference with its interval, p, and p corrected after Holm."""
    if difference is None:
        return ["", "", ""]
    text = f"{difference['difference']:+.3f}"
    if difference["p"] is None:
        return [text, "", ""]
    text += f" [{difference['low']:+.3f}, {difference['high']:+.3f}]"
    return [text, f"{difference['p']:.3f}", f"{difference['p_holm']:.3f}"]


def metric_values(entry: Mapping[str, Any], difference: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the metrics of an entry, the ends of their intervals and its paired difference by CSV column."""
    values = {metric: entry[metric] for metric in METRICS}
    for metric, (low, high) in (entry["intervals"] or {}).items():
        values |= {f"{metric}_low": low, f"{metric}_high": high}
    if difference is not None:
        keys = ("difference", "low", "high", "p", "p_holm")
        values |= {column: difference.get(key) for column, key in zip(DIFFERENCE_COLUMNS, keys, strict=True)}
    return values
