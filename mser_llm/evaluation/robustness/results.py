# SPDX-License-Identifier: Apache-2.0
"""Write and plot the metrics under all conditions."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mser_llm.evaluation.metrics.emotion_metrics import METRICS
from mser_llm.evaluation.plots import ACCENT, HUES, INK, MUTED, RULE, style_axes, write_png
from mser_llm.evaluation.tables import (
    DIFFERENCE_COLUMNS,
    difference_cells,
    format_table,
    metric_values,
    metric_with_interval,
    write_csv,
)
from mser_llm.io.atomic_files import atomic_open, write_json


_COLUMNS = 3


def write_robustness(results: Mapping[str, Any], output_dir: str | PathLike) -> Path:
    """Write `robustness.json`, `.csv`, `.png` and `.md` and return the path of the last.

    Args:
        results: the result of `robustness_metrics` with `leak` and, for the clips of --others, `lent_leak`.
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
        cells = []
        unanswered = 0
        for condition in results["conditions"].values():
            title = condition["title"] + (f", {condition['axis']}" if condition["axis"] else "")
            for level in condition["levels"]:
                entry = level["corpora"][corpus]
                unanswered += entry["unanswered"]
                difference, _, adjusted = difference_cells(entry["against_clean"])
                shown = _level(condition, level, entry)
                cells.append([title, shown, metric_with_interval(entry, "UA"), difference, adjusted])
        note = "Brackets: 95 % intervals. p: two-sided, paired bootstrap over speakers."
        if unanswered:
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


def robustness_figure(results: Mapping[str, Any]) -> Figure:
    """Draw one panel per condition; conditions with one level share the last panel."""
    curves = {name: of for name, of in results["conditions"].items() if len(of["levels"]) > 1}
    points = {name: of for name, of in results["conditions"].items() if len(of["levels"]) == 1}
    panels = len(curves) + bool(points)
    columns = min(_COLUMNS, panels)
    rows = -(-panels // columns)
    figure = Figure(figsize=(3.1 * columns, 2.55 * rows + 0.35), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    corpora = list(results["clean"])
    hues = dict(zip(corpora, [ACCENT, *HUES[1:]] * len(corpora)))
    for axes, condition in zip(grid, curves.values()):
        _curve(axes, results["clean"], condition, hues)
    if points:
        _points(grid[len(curves)], results["clean"], list(points.values()), hues)
    for axes in grid[panels:]:
        axes.set_visible(False)
    # `recall` has all labels, including those without clips.
    chance = 1 / len(results["clean"][corpora[0]]["recall"])
    for axes in grid[:panels]:
        style_axes(axes)
        axes.set_ylim(0, 1)
        axes.tick_params(labelleft=True)
        axes.axhline(chance, color=MUTED, linewidth=1.0, linestyle=(0, (3, 3)), zorder=1)
    for axes in grid[:panels:columns]:
        axes.set_ylabel("UA", color=MUTED, fontsize=9)
    handles = [
        grid[0].plot([], [], color=hue, marker="o", markersize=3.5, label=name)[0] for name, hue in hues.items()
    ]
    handles.append(grid[0].plot([], [], color=MUTED, linestyle=(0, (3, 3)), linewidth=1.0, label="chance")[0])
    style: dict[str, Any] = {"frameon": False, "fontsize": 8.5, "labelcolor": INK}
    figure.legend(handles=handles, loc="outside lower center", ncols=6, **style)
    return figure


def _curve(axes: Axes, clean: Mapping[str, Any], condition: Mapping[str, Any], hues: Mapping[str, str]) -> None:
    """Draw levels at equal steps, with the unchanged clips first or at their place in the order."""
    levels = list(condition["levels"])
    unchanged: dict[str, Any] = {"level": condition["clean"], "corpora": clean}
    if condition["clean"] is None:
        levels = [unchanged, *levels]
    else:
        levels = sorted([*levels, unchanged], key=lambda level: level["level"])
    names = ["clean" if level is unchanged else f"{level['level']:g}" for level in levels]
    where = np.arange(len(levels))
    for corpus, hue in hues.items():
        low, middle, high = _bounds([level["corpora"][corpus] for level in levels])
        axes.fill_between(where, low, high, color=hue, alpha=0.18, linewidth=0)
        axes.plot(where, middle, color=hue, linewidth=1.6, marker="o", markersize=3.5)
    axes.set_xticks(where, names)
    axes.set_title(condition["title"], loc="left", fontsize=9.5, color=INK)
    axes.set_xlabel(condition["axis"], color=MUTED, fontsize=8.5)


def _points(
    axes: Axes, clean: Mapping[str, Any], conditions: Sequence[Mapping[str, Any]], hues: Mapping[str, str]
) -> None:
    """Draw conditions with one level next to each other, with an offset per corpus."""
    where = np.arange(len(conditions) + 1)
    for number, (corpus, hue) in enumerate(hues.items()):
        entries = [clean[corpus], *(condition["levels"][0]["corpora"][corpus] for condition in conditions)]
        low, middle, high = _bounds(entries)
        position = where + 0.16 * (number - (len(hues) - 1) / 2)
        axes.vlines(position, low, high, color=hue, alpha=0.45, linewidth=3)
        axes.plot(position, middle, color=hue, linestyle="none", marker="o", markersize=4)
    axes.set_xlim(-0.5, len(conditions) + 0.5)
    titles = ["clean", *(condition["title"] for condition in conditions)]
    axes.set_xticks(where, titles, rotation=22, ha="right", rotation_mode="anchor")
    axes.set_title("one level each", loc="left", fontsize=9.5, color=INK)
    axes.spines["bottom"].set_color(RULE)


def _bounds(entries: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Low ends, UA and high ends; without intervals all three are the UA."""
    middle = [entry["UA"] for entry in entries]
    ends = [entry["intervals"]["UA"] if entry["intervals"] else (entry["UA"], entry["UA"]) for entry in entries]
    low, high = zip(*ends)
    return np.array(low), np.array(middle), np.array(high)
