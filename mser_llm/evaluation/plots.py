# SPDX-License-Identifier: Apache-2.0
"""Plots of a report, as PNG files or as SVG that takes its colors from the page.

The plots avoid pyplot: they need no display and have no global state.
"""

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from os import PathLike
from typing import Any
from unicodedata import category

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager
from matplotlib.ft2font import FT2Font
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from mser_llm.io.atomic_files import atomic_open
from mser_llm.io.errors import InputError


# `inline_svg` replaces each color by a variable of the page, so that a plot fits the light and the dark theme.
INK, MUTED, RULE = "#1b1e24", "#666c76", "#d5d8de"
ACCENT, WARN = "#2b62c9", "#b3541e"
_PAGE_COLORS = {INK: "--ink", MUTED: "--muted", RULE: "--rule", ACCENT: "--accent", WARN: "--warn"}
# Hues for up to fourteen emotions that are visible on white and on near-black.
HUES = (
    "#8b909a", "#dd9a00", "#3f86e0", "#d8483f", "#ad5fcb", "#5d9e3a", "#22a39f",
    "#7fb2e5", "#e56b9d", "#a0703d", "#6b6bd6", "#97a03a", "#e07b39", "#5b6472",
)  # fmt: skip
MARKERS = "os^DvPX*<>ph"
_CLIP = "clip:"


def emotion_hues(words: Sequence[str]) -> dict[str, str]:
    """Assign a color to each label by its position."""
    return dict(zip(dict.fromkeys(words), HUES * len(words)))


def confusion_figure(
    confusion: Sequence[Sequence[int]],
    labels: Sequence[str],
    unparsed: Sequence[int] | None = None,
    title: str | None = None,
) -> Figure:
    """Draw a confusion matrix with the percentage of each row and the count.

    Args:
        confusion: counts `(num_labels, num_labels)`, rows are true labels.
        unparsed: unparsed predictions of each row, as a separate column; None omits the column.
    """
    counts, size = np.asarray(confusion, dtype=int), len(labels)
    names, places = [*labels], [*map(float, range(size))]
    if unparsed is not None:
        counts = np.column_stack([counts, np.asarray(unparsed, dtype=int)])
        names, places = [*names, "unparsed"], [*places, size + 0.2]
    support = counts.sum(axis=1)
    longest = max(map(len, names)) * 0.075
    right = places[-1] + 1
    width, height = 0.52 * right + longest + 0.45, 0.52 * size + 0.7 * longest + (0.62 if title else 0.35)
    figure = Figure(figsize=(max(width, 2.6), height), layout="constrained")
    axes = figure.add_subplot()
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0, labelsize=9, colors=INK)
    # Always within the axes, so the layout need not measure it.
    inside: dict[str, Any] = {"in_layout": False}
    centred = inside | {"ha": "center", "va": "center"}
    for row, index in np.ndindex(counts.shape):
        column, count = places[index], counts[row, index]
        share = count / support[row] if support[row] else 0.0
        square = inside | {"xy": (column - 0.48, row - 0.48), "width": 0.96, "height": 0.96, "linewidth": 0}
        axes.add_artist(Rectangle(**square, facecolor=RULE, alpha=0.3))
        if not count:
            axes.text(column, row, "0" if support[row] else "–", fontsize=9, color=MUTED, **centred)
            continue
        color = ACCENT if index < size else WARN
        axes.add_artist(Rectangle(**square, facecolor=color, alpha=0.08 + 0.92 * share))
        ink = "white" if share > 0.55 else INK
        weight = "bold" if index == row else "normal"
        axes.text(column, row - 0.12, f"{100 * share:.0f}", fontsize=10.5, color=ink, fontweight=weight, **centred)
        axes.text(column, row + 0.26, str(count), fontsize=7.5, color=ink, alpha=0.85, **centred)
    axes.set_xlim(-0.5, right - 0.5)
    axes.set_ylim(size - 0.5, -0.5)
    axes.set_aspect("equal")
    axes.set_xticks(places, names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(size), labels)
    axes.set_ylabel("true", color=MUTED, fontsize=9)
    # Below the figure, because the axes are narrower for two labels.
    figure.supxlabel("predicted (% of row, count)", color=MUTED, fontsize=9)
    if title:
        axes.set_title(title, loc="left", fontsize=10, color=INK)
    return figure


def curve_figure(log_history: Sequence[Mapping[str, Any]], keys: Sequence[str], label: str) -> Figure:
    """Draw keys of a Trainer's `log_history` over epochs, or over steps if no epoch is logged."""
    time = "epoch" if all("epoch" in entry for entry in log_history) else "step"
    figure = Figure(figsize=(4.4, 2.7), layout="constrained")
    axes = figure.add_subplot()
    for position, key in enumerate(keys):
        logged = [entry for entry in log_history if key in entry]
        # The first value per epoch: the last log entry repeats the evaluation of the best checkpoint.
        points = sorted({entry[time]: entry[key] for entry in reversed(logged)}.items())
        hue = ACCENT if position == 0 else HUES[1:][(2 * position - 2) % (len(HUES) - 1)]
        marker = "o" if len(points) <= 40 else None
        name = "validation loss" if key == "eval_loss" else key.removeprefix("eval_")
        axes.plot(*zip(*points, strict=True), color=hue, linewidth=1.6, marker=marker, markersize=3, label=name)
    style_axes(axes, time, label)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.legend(frameon=False, fontsize=8.5, labelcolor=INK)
    return figure


def loss_keys(log_history: Sequence[Mapping[str, Any]]) -> list[str]:
    """List the losses of a `log_history`, the total first, without the Trainer's final `train_loss`."""
    keys = {key for entry in log_history for key in entry if "loss" in key and not key.startswith("train_")}
    return sorted(keys, key=lambda key: (key != "loss", key))


def score_keys(log_history: Sequence[Mapping[str, Any]]) -> list[str]:
    """List the main validation metrics of a `log_history`."""
    keys = ("eval_UA", "eval_WA", "eval_WF1", "eval_macro_F1")
    return [key for key in keys if any(key in entry for entry in log_history)]


def embedding_figure(
    embeddings: np.ndarray, emotions: Sequence[str], languages: Sequence[str], words: Sequence[str] = ()
) -> Figure:
    """Draw a map of emotion embeddings: colors are emotions, markers are languages.

    Args:
        embeddings: `(num_clips, hidden_size)`; more than two dimensions are reduced to two principal components.
        emotions, languages: one per clip.
        words: the label list, whose order determines the colors; by default the order of occurrence.
    """
    points = np.asarray(embeddings, dtype=np.float64)
    if points.ndim != 2 or not len(points) == len(emotions) == len(languages):
        raise InputError(
            "embeddings",
            f"shape {points.shape} for {len(emotions)} emotions and {len(languages)} languages",
            "pass (num_clips, hidden_size) and one of each per clip",
        )
    principal = points.shape[1] > 2
    if principal:
        centred = points - points.mean(axis=0)
        points = centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T
    figure = Figure(figsize=(5.4, 4.4), layout="constrained")
    axes = figure.add_subplot()
    hues = emotion_hues([*words, *emotions])
    marks = dict(zip(sorted(set(languages)), MARKERS * len(languages)))
    hues = {emotion: hue for emotion, hue in hues.items() if emotion in set(emotions)}
    for emotion, hue in hues.items():
        for language, mark in marks.items():
            chosen = [i for i, pair in enumerate(zip(emotions, languages, strict=True)) if pair == (emotion, language)]
            across, up = points[chosen].T
            clips = axes.scatter(across, up, s=20, marker=mark, color=hue, alpha=0.75, linewidths=0)
            # SVG allows links on single markers; `inline_svg` turns them into captions.
            clips.set_urls([f"{_CLIP}{i}" for i in chosen])
    style_axes(axes, *(["first principal component", "second principal component"] if principal else []))
    axes.grid(False)
    axes.set_xticks([])
    axes.set_yticks([])
    handles = [axes.scatter([], [], s=26, color=hue, label=emotion) for emotion, hue in hues.items()]
    if len(marks) > 1:
        handles += [axes.scatter([], [], s=26, marker=mark, color=MUTED, label=name) for name, mark in marks.items()]
    style = {"frameon": False, "fontsize": 8.5, "labelcolor": INK, "handletextpad": 0.2}
    figure.legend(handles=handles, loc="outside lower center", ncols=4, **style)
    return figure


def interval_figure(rows: Sequence[tuple[str, float, Sequence[float] | None, float]], label: str) -> Figure:
    """Draw metrics on one scale from 0 to 1: the value as a dot, its interval as a line, chance as a tick.

    Args:
        rows: name, value, interval (or None) and chance, from the top.
    """
    figure = Figure(figsize=(6.4, 0.75 + 0.36 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    places = range(len(rows), 0, -1)
    for place, (_, value, bounds, chance) in zip(places, rows, strict=True):
        if bounds is not None:
            axes.plot(bounds, [place, place], color=ACCENT, linewidth=5, alpha=0.35, solid_capstyle="butt")
        axes.plot([value], [place], "o", color=ACCENT, markersize=6, clip_on=False)
        axes.plot([chance, chance], [place - 0.3, place + 0.3], color=MUTED, linewidth=1.4)
        axes.annotate(
            f"{value:.3f}", (value, place), (0, 6), textcoords="offset points", ha="center", fontsize=8.5, color=INK
        )
    style_axes(axes, label)
    axes.grid(False, axis="y")
    axes.set_xlim(0, 1)
    axes.set_ylim(0.4, len(rows) + 0.75)
    axes.set_yticks(places, [name for name, *_ in rows], color=INK, fontsize=9)
    return figure


def reliability_figure(bins: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw the bins of `reliability`: accuracy per bin, with the gap to the diagonal in another color."""
    figure = Figure(figsize=(3.6, 3.4), layout="constrained")
    axes = figure.add_subplot()
    most = max(one["n"] for one in bins)
    for one in bins:
        wide: dict[str, Any] = {"x": one["low"], "width": one["high"] - one["low"], "align": "edge", "linewidth": 0}
        # Bars of few predictions are paler.
        weight = 0.25 + 0.75 * one["n"] / most
        axes.bar(height=one["accuracy"], color=ACCENT, alpha=0.75 * weight, **wide)
        gap = one["confidence"] - one["accuracy"]
        axes.bar(height=gap, bottom=one["accuracy"], color=WARN, alpha=0.45 * weight, **wide)
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (3, 3)))
    style_axes(axes, "predicted probability", "accuracy")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_aspect("equal")
    return figure


def write_png(figure: Figure, path: str | PathLike) -> None:
    """Write a plot on a white background as an atomic file."""
    _draw_literally(figure)
    set_fallback_fonts(figure)
    with atomic_open(path, "wb") as file, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # `set_fallback_fonts` warned already
        # A tight box keeps titles that are wider than the axes.
        figure.savefig(file, format="png", dpi=160, facecolor="white", bbox_inches="tight")


def inline_svg(figure: Figure, description: str, captions: Sequence[str] = ()) -> str:
    """Render a plot as a transparent `<svg>` element with text as text and colors as variables of the page.

    Args:
        figure: the plot.
        description: for screen readers; it also makes the ids of several plots on one page unique.
        captions: tooltips for the clips of an `embedding_figure`.
    """
    _draw_literally(figure)
    buffer = io.StringIO()
    settings = {"svg.fonttype": "none", "svg.hashsalt": description}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the browser's fonts apply
        no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=no_metadata)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    for color, variable in _PAGE_COLORS.items():
        svg = svg.replace(color, f"var({variable})")
    # HTML needs no namespaces, so the page contains no addresses. Group ids are unused and not unique.
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r"<svg[^>]*?viewBox", f'<svg role="img" aria-label="{_attribute(description)}" viewBox', svg, count=1)
    titles = [f"<title>{_attribute(caption)}</title>" for caption in captions]
    svg = re.sub(
        rf'<a xlink:href="{_CLIP}(\d+)"[^>]*>', lambda link: "<g>" + (titles[int(link[1])] if titles else ""), svg
    ).replace("</a>", "</g>")
    width = figure.get_figwidth() * 96
    return re.sub(r'(viewBox="[^"]*")[^>]*>', rf'\1 style="width: {width:.0f}px">', svg, count=1)


def _draw_literally(figure: Figure) -> None:
    """Draw `$` literally, because labels and names are user text and not formulas."""
    for text in figure.findobj(Text):
        text.set_parse_math(False)


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace("\\", "")


def style_axes(axes: Axes, across: str = "", up: str = "") -> None:
    """Style axes with two muted spines and a grid in the background, and label them."""
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(RULE)
    axes.tick_params(length=0, labelsize=8.5, colors=MUTED)
    axes.grid(True, color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    if across:
        axes.set_xlabel(across, color=MUTED, fontsize=9)
    if up:
        axes.set_ylabel(up, color=MUTED, fontsize=9)


def set_fallback_fonts(figure: Figure) -> None:
    """Add installed fonts to texts whose characters the default font lacks; warn about characters without a font."""
    default = FontProperties()
    known = set(FT2Font(findfont(default)).get_charmap())
    # Matplotlib's own font of last resort draws a box for every character.
    names = sorted({font.name for font in fontManager.ttflist if not font.name.startswith("Last Resort")})
    for text in figure.findobj(Text):
        drawn = (character for character in text.get_text() if category(character) not in ("Cc", "Cf"))
        missing = {ord(character) for character in drawn} - known
        if not missing:
            continue
        others = []
        for name in names:
            if not missing:
                break
            with suppress(RuntimeError, OSError, ValueError):  # unreadable fonts
                # A list, because a plain name is parsed as a pattern.
                font = findfont(FontProperties(family=[name]), fallback_to_default=False)
                found = missing & set(FT2Font(font).get_charmap())
                others += [name] if found else []
                missing -= found
        text.set_fontfamily([*default.get_family(), *others])
        if missing:
            warnings.warn(
                f"{text.get_text()!r}: no installed font has these characters; install a Noto font to avoid boxes",
                stacklevel=2,
            )
