# SPDX-License-Identifier: Apache-2.0
"""Draw the figures of the corpus analysis from `analysis.json`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from mser_llm.evaluation.plots import ACCENT, HUES, INK, MARKERS, MUTED, RULE, emotion_hues, style_axes


# Inches; a phone shows this width without shrinking the text.
_WIDTH = 4.3
_LEGEND: dict[str, Any] = {"frameon": False, "fontsize": 8.5, "labelcolor": INK, "handletextpad": 0.3}


def hours_figure(
    hours: Mapping[str, Mapping[str, float]], emotions: Sequence[str], names: Mapping[str, str], label: str
) -> Figure:
    """Draw Fig. 1: one bar of hours per language, divided by emotion."""
    figure, axes = _figure(0.9 + 0.34 * len(hours))
    hues = emotion_hues(emotions)
    ends = np.zeros(len(hours))
    for emotion in emotions:
        widths = np.array([of.get(emotion, 0.0) for of in hours.values()])
        axes.barh(range(len(hours)), widths, left=ends, height=0.66, color=hues[emotion], label=emotion)
        ends += widths
    _rows(axes, [names[code] for code in hours])
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel(label, color=MUTED, fontsize=9)
    figure.legend(loc="outside lower center", ncols=4, columnspacing=1.0, **_LEGEND)
    return figure


def cells_figure(
    points: Sequence[Mapping[str, Any]], explained: Sequence[float], emotions: Sequence[str], names: Mapping[str, str]
) -> Figure:
    """Draw Fig. 2: a mark per cell, colored by emotion, shaped by language, with a line to the mean of its emotion."""
    width, height = np.ptp([[point["x"], point["y"]] for point in points], axis=0)
    # The same scale on both axes, and no higher than needed.
    plot_height = float(np.clip(_WIDTH * height / max(width, 1e-9), 1.4, 3.6))
    figure, axes = _figure(plot_height + 1.3)
    hues = emotion_hues(emotions)
    marks = dict(zip(names, MARKERS * len(names)))
    for emotion, hue in hues.items():
        own = [point for point in points if point["emotion"] == emotion]
        if not own:
            continue
        x, y = np.array([[point["x"], point["y"]] for point in own]).T
        for point in own:
            ends = [x.mean(), point["x"]], [y.mean(), point["y"]]
            axes.plot(*ends, color=hue, linewidth=1.0, alpha=0.45, zorder=1)
            mark = marks[point["language"]]
            axes.scatter(point["x"], point["y"], s=34, marker=mark, color=hue, linewidths=0, zorder=2)
    style_axes(axes)
    axes.grid(False)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", adjustable="datalim")
    axes.margins(0.08)
    axes.set_xlabel(f"first component, {100 * explained[0]:.0f} % of the variance", color=MUTED, fontsize=9)
    axes.set_ylabel(f"second component, {100 * explained[1]:.0f} %", color=MUTED, fontsize=9)
    present = {point["language"] for point in points}
    handles = [axes.scatter([], [], s=34, color=hue, label=emotion) for emotion, hue in hues.items()]
    handles += [
        axes.scatter([], [], s=34, marker=marks[code], color=MUTED, label=name)
        for code, name in names.items()
        if code in present
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, columnspacing=0.8, **_LEGEND)
    return figure


def ratios_figure(tests: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draw the ratio of same-emotion to different-emotion distances on the band of shuffled emotions."""
    figure, axes = _figure(0.85 + 0.42 * len(tests))
    for row, test in enumerate(tests.values()):
        _band(axes, row, test["shuffled"]["interval"])
        _dot(axes, row, test["ratio"], test["interval"], ACCENT)
    _rows(axes, list(tests))
    axes.axvline(1.0, color=MUTED, linewidth=0.8, linestyle=(0, (3, 3)))
    axes.set_xlim(left=min(0.4, axes.get_xlim()[0]))
    axes.set_xlabel("same emotion ÷ different emotion", color=MUTED, fontsize=9)
    handles = [
        axes.plot([], [], "o-", color=ACCENT, markersize=5, linewidth=1.4, label="measured, 95 % interval")[0],
        Patch(color=RULE, label="shuffled emotions"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, **_LEGEND)
    return figure


def preservation_figure(
    by_language: Mapping[str, Mapping[str, Any]], quantities: Mapping[str, str], names: Mapping[str, str]
) -> Figure:
    """Draw correlations with the source: a row per quantity, a mark per language on the band of shuffled pairs."""
    shown = {key: name for key, name in quantities.items() if any(key in of for of in by_language.values())}
    figure, axes = _figure(1.1 + 0.62 * len(shown))
    hues = dict(zip(by_language, HUES[1:] * len(by_language)))
    offsets = np.linspace(-0.28, 0.28, len(by_language)) if len(by_language) > 1 else np.zeros(1)
    for row, key in enumerate(shown):
        for offset, (code, figures) in zip(offsets, by_language.items(), strict=True):
            if key in figures:
                found = figures[key].get("pearson") or figures[key]["mean"]
                _band(axes, row + offset, found["shuffled"]["interval"], 0.5 / len(by_language))
                _dot(axes, row + offset, found["value"], found["interval"], hues[code])
    _rows(axes, list(shown.values()))
    axes.axvline(0.0, color=MUTED, linewidth=0.8, linestyle=(0, (3, 3)))
    axes.set_xlim(right=1.03)
    axes.set_xlabel("correlation with the source", color=MUTED, fontsize=9)
    handles: list[Any] = [
        axes.plot([], [], "o-", color=hue, markersize=5, linewidth=1.4, label=names[code])[0]
        for code, hue in hues.items()
    ]
    handles.append(Patch(color=RULE, label="shuffled pairs"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, **_LEGEND)
    return figure


def durations_figure(durations: Mapping[str, Mapping[str, Any]], names: Mapping[str, str]) -> Figure:
    """Draw the histogram of durations per language, in half seconds."""
    figure, axes = _figure(2.8)
    known = {code: of for code, of in durations.items() if of["histogram"]}
    longest = max(_percentile(of["histogram"], 0.99) for of in known.values()) + 1
    edges = np.arange(0, longest + 0.5, 0.5)
    for index, (code, of) in enumerate(known.items()):
        starts, clips = np.array(of["histogram"]).T
        shares, _ = np.histogram(np.minimum(starts, edges[-1] - 0.25), edges, weights=100 * clips / clips.sum())
        hue = INK if index == 0 else (HUES[1:] * len(known))[index - 1]
        axes.plot(edges[:-1] + 0.25, shares, color=hue, linewidth=1.5, label=names[code])
    style_axes(axes)
    axes.set_xlim(0, edges[-1])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("duration, seconds", color=MUTED, fontsize=9)
    axes.set_ylabel("% of the language's clips", color=MUTED, fontsize=9)
    figure.legend(loc="outside lower center", ncols=4, columnspacing=1.0, **_LEGEND)
    return figure


def speakers_figure(histogram: Sequence[Sequence[int]]) -> Figure:
    """Draw the histogram of clips per speaker, from pairs (clips, speakers)."""
    figure, axes = _figure(2.4)
    clips, speakers = np.array(histogram).T
    # Bars over equally many integers, or one over two would be twice as high as one over one.
    width = -(-(clips.max() - clips.min() + 1) // 20)
    bins = np.arange(clips.min() - 0.5, clips.max() + width, width).tolist()
    axes.hist(clips, bins=bins, weights=speakers, color=ACCENT, alpha=0.85, rwidth=0.9)
    style_axes(axes)
    axes.grid(False, axis="x")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_xlabel("clips per speaker in one language", color=MUTED, fontsize=9)
    axes.set_ylabel("speakers", color=MUTED, fontsize=9)
    return figure


def _figure(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    return figure, figure.add_subplot()


def _percentile(histogram: Sequence[Sequence[float]], fraction: float) -> float:
    starts, clips = np.array(histogram).T
    return float(starts[np.searchsorted(np.cumsum(clips), fraction * clips.sum())])


def _band(axes: Axes, row: float, interval: Sequence[float] | None, height: float = 0.5) -> None:
    if interval is not None:
        axes.barh(row, interval[1] - interval[0], left=interval[0], height=height, color=RULE, zorder=1)


def _dot(axes: Axes, row: float, value: float, interval: Sequence[float] | None, color: str) -> None:
    if interval is not None:
        axes.plot(interval, [row, row], color=color, linewidth=1.4, zorder=2)
    axes.plot([value], [row], "o", color=color, markersize=4.5, zorder=3)


def _rows(axes: Axes, names: Sequence[str]) -> None:
    style_axes(axes)
    axes.grid(False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", labelsize=9, colors=INK)
    axes.set_ylim(len(names) - 0.5, -0.5)
