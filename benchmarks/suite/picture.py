# SPDX-License-Identifier: Apache-2.0
"""Draw the results: ratios as bars, costs as curves."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from benchmarks.suite.rounds import Comparison
from benchmarks.suite.scaling import Curve
from mser_llm.evaluation.plots import ACCENT, INK, MUTED, RULE, WARN
from mser_llm.io.atomic_files import atomic_open


RATIO_TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)


def draw(path: Path, comparisons: Sequence[Comparison], curves: Sequence[Curve]) -> None:
    """Draw ratios as bars on a logarithmic axis (shares only if nothing else was measured), and a plot per curve."""
    bars = [comparison for comparison in comparisons if comparison.better != "share"] or comparisons
    height = 0.22 * len(bars) + 1.2
    figure = Figure(figsize=(11, height + (3.2 if curves else 0)), layout="constrained")
    parts = figure.subfigures(2, 1, height_ratios=[height, 3.2]) if curves else [figure]
    _bars(parts[0], bars)
    for place, curve in enumerate(curves):
        axes = parts[1].add_subplot(1, len(curves), place + 1)
        line = np.array([0.0, max(curve.at)])
        axes.plot(line, curve.slope * line + curve.seconds[0] - curve.slope * curve.at[0], color=RULE, zorder=1)
        axes.plot(curve.at, curve.seconds, "o-", color=ACCENT, markersize=3, linewidth=1)
        if curve.linear_until < curve.at[-1]:
            axes.axvline(curve.linear_until, color=WARN, linewidth=0.8, linestyle=":")
        axes.set_xlabel(curve.name, fontsize=8)
        axes.set_ylabel("seconds" if place == 0 else "", fontsize=8)
        axes.set_title(f"{1e3 * curve.slope:.3g} ms per {curve.unit}", fontsize=8, color=INK)
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.tick_params(labelsize=7, colors=MUTED)
    with atomic_open(path, "wb") as file:
        figure.savefig(file, format="png", dpi=150)


def _bars(part: Figure, bars: Sequence[Comparison]) -> None:
    axes = part.add_subplot()
    ratios = [comparison.summary["ratio"] for comparison in bars]
    spread = np.array(
        [
            [max(ratio - min(comparison.ratios), 0), max(max(comparison.ratios) - ratio, 0)]
            for ratio, comparison in zip(ratios, bars, strict=True)
        ]
    )
    colors = [WARN if comparison.met is False else ACCENT for comparison in bars]
    places = np.arange(len(bars))
    lengths = np.array(ratios) - 1.0  # a bar starts at 1, where both sides are equal
    axes.barh(
        places, lengths, left=1.0, xerr=spread.T, color=colors, ecolor=MUTED, error_kw={"linewidth": 0.8}, height=0.7
    )
    axes.set_yticks(places, [comparison.name for comparison in bars], fontsize=7)
    axes.set_xscale("log")
    axes.axvline(1.0, color=INK, linewidth=0.8)
    for place, ratio, above in zip(places, ratios, spread[:, 1], strict=True):
        axes.annotate(f" {ratio:.3g}", (max(ratio + above, 1.0), place), va="center", fontsize=6, color=INK)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    low, high = axes.get_xlim()
    ticks = [tick for tick in RATIO_TICKS if low <= tick <= high]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("ratio", fontsize=8)
    axes.tick_params(axis="x", labelsize=7, colors=MUTED)
    axes.grid(axis="x", color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)
