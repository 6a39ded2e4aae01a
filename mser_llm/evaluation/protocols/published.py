# SPDX-License-Identifier: Apache-2.0
"""Published numbers as rows of a table, one's own under them."""

from collections.abc import Mapping
from typing import Any

from mser_llm.evaluation.protocols.protocol import Protocol


COLUMNS = {"WA": "WA", "UA": "UA", "WF1": "WF1", "macro_F1": "macro-F1", "precision": "precision"}
"""Figure of `emotion_metrics` to the head of its column."""
MEASURED = "measured here"


def published_rows(protocol: Protocol, figures: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """One row for each published system, then one's own.

    Args:
        protocol: the published numbers are its.
        figures: of one's own system over the whole test, as `emotion_metrics` gives them; None adds no row.

    Returns:
        Rows with `system`, `where`, `group` (None for all clips) and the figures that were published, each followed by
        its `FIGURE_std` where one was.
    """
    rows: dict[tuple, dict[str, Any]] = {}
    for one in protocol.published:
        key = (one.system, one.where, one.group)
        row = rows.setdefault(key, {"system": one.system, "where": one.where, "group": one.group})
        row[one.metric] = one.value
        if one.std is not None:
            row[f"{one.metric}_std"] = one.std
    own = [] if figures is None else [{"system": MEASURED, "where": "", "group": None} | _figures(figures)]
    return [*rows.values(), *own]


def format_published(protocol: Protocol, figures: Mapping[str, Any] | None = None) -> str:
    """The rows as text; columns without a published number are left out, where there is any."""
    rows = published_rows(protocol, figures)
    columns = [metric for metric in COLUMNS if any(metric in row for row in rows if row["system"] != MEASURED)]
    columns = columns or list(COLUMNS)
    heads = ["system", *(COLUMNS[metric] for metric in columns), "where"]
    lines = [heads, *([_system(row), *(_number(row, metric) for metric in columns), row["where"]] for row in rows)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(heads))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index in (0, len(heads) - 1) else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _figures(figures: Mapping[str, Any]) -> dict[str, float]:
    return {metric: figures[metric] for metric in COLUMNS}


def _system(row: Mapping[str, Any]) -> str:
    return row["system"] + (f", {row['group']} only" if row["group"] else "")


def _number(row: Mapping[str, Any], metric: str) -> str:
    if metric not in row:
        return "-"
    deviation = row.get(f"{metric}_std")
    return f"{row[metric]:.3f}" + (f" ± {deviation:.3f}" if deviation is not None else "")
