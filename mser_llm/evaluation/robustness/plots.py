# SPDX-License-Identifier: Apache-2.0
"""Plot UA and its intervals over the levels of each condition."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mser_llm.evaluation.plots import ACCENT, HUES, INK, MUTED, RULE, style_axes


_COLUMNS = 3
_CLEAN = "clean"


def robustness_figure(results: Mapping[str, Any]) -> Figure:
    """Draw one panel per condition; conditions with one level share the last panel.

    Args:
        results: `clean` and `conditions` of `robustness_metrics`.
    """
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
    names = [_CLEAN if level is unchanged else f"{level['level']:g}" for level in levels]
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
    titles = [_CLEAN, *(condition["title"] for condition in conditions)]
    axes.set_xticks(where, titles, rotation=22, ha="right", rotation_mode="anchor")
    axes.set_title("one level each", loc="left", fontsize=9.5, color=INK)
    axes.spines["bottom"].set_color(RULE)


def _bounds(entries: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Low ends, UA and high ends; without intervals all three are the UA."""
    middle = [entry["UA"] for entry in entries]
    ends = [entry["intervals"]["UA"] if entry["intervals"] else (entry["UA"], entry["UA"]) for entry in entries]
    low, high = zip(*ends)
    return np.array(low), np.array(middle), np.array(high)
