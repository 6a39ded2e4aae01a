# SPDX-License-Identifier: Apache-2.0
"""The pictures of a report: as PNG files, or as SVG that takes its colours from the page it stands in.

Figures are made without pyplot: no global state, no display, and safe beside a user's own plots.
"""

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from mser_llm.evaluation.fonts import set_fallback_fonts
from mser_llm.io.atomic_files import atomic_open


# Each colour here is a variable of the page in `inline_svg`, so that one picture serves the light and the dark theme.
INK, MUTED, RULE = "#1b1e24", "#666c76", "#d5d8de"
ACCENT, WARN = "#2b62c9", "#b3541e"
_PAGE_COLOURS = {INK: "--ink", MUTED: "--muted", RULE: "--rule", ACCENT: "--accent", WARN: "--warn"}
# Mid-lightness hues that stand out on white and on near-black, for up to fourteen emotions.
HUES = (
    "#8b909a", "#dd9a00", "#3f86e0", "#d8483f", "#ad5fcb", "#5d9e3a", "#22a39f",
    "#7fb2e5", "#e56b9d", "#a0703d", "#6b6bd6", "#97a03a", "#e07b39", "#5b6472",
)  # fmt: skip
MARKERS = "os^DvPX*<>ph"
_CLIP = "clip:"


def emotion_hues(words: Sequence[str]) -> dict[str, str]:
    """A colour for each word, by its place in the label list."""
    return dict(zip(dict.fromkeys(words), HUES * len(words)))


def confusion_figure(
    confusion: Sequence[Sequence[int]],
    labels: Sequence[str],
    unparsed: Sequence[int] | None = None,
    title: str | None = None,
) -> Figure:
    """A confusion matrix: each row's shares as depth of colour and in per cent, with the counts below.

    Args:
        confusion: counts `(num_labels, num_labels)`, rows truth.
        labels: the words, in the order of both axes.
        unparsed: answers of each row without a word, for a column of its own; None leaves the column out.
        title: printed above.
    """
    counts = np.asarray(confusion, dtype=int)
    apart = np.zeros(len(labels), dtype=int) if unparsed is None else np.asarray(unparsed, dtype=int)
    support = counts.sum(axis=1) + apart
    size, extra = len(labels), 0.0 if unparsed is None else 1.2
    longest = max(map(len, [*labels, "unparsed"] if extra else labels)) * 0.075
    width, height = 0.52 * (size + extra) + longest + 0.45, 0.52 * size + 0.7 * longest + (0.62 if title else 0.35)
    figure = Figure(figsize=(max(width, 2.6), height), layout="constrained")
    axes = figure.add_subplot()
    hide_frame(axes)

    def cell(column: float, row: int, count: int, colour: str) -> None:
        share = count / support[row] if support[row] else 0.0
        # Within the axes, whatever it says: no layout need measure it.
        inside: dict[str, Any] = {"in_layout": False}
        square = inside | {"xy": (column - 0.48, row - 0.48), "width": 0.96, "height": 0.96, "linewidth": 0}
        axes.add_artist(Rectangle(**square, facecolor=RULE, alpha=0.3))
        centred = inside | {"ha": "center", "va": "center"}
        if not count:
            axes.text(column, row, "0" if support[row] else "–", fontsize=9, color=MUTED, **centred)
            return
        axes.add_artist(Rectangle(**square, facecolor=colour, alpha=0.08 + 0.92 * share))
        ink = "white" if share > 0.55 else INK
        weight = "bold" if column == row else "normal"
        axes.text(column, row - 0.12, f"{100 * share:.0f}", fontsize=10.5, color=ink, fontweight=weight, **centred)
        axes.text(column, row + 0.26, str(count), fontsize=7.5, color=ink, alpha=0.85, **centred)

    for row in range(size):
        for column in range(size):
            cell(column, row, int(counts[row, column]), ACCENT)
        if extra:
            cell(size + extra - 1, row, int(apart[row]), WARN)
    ticks, names = [*range(size)], [*labels]
    if extra:
        ticks, names = [*ticks, size + extra - 1], [*names, "unparsed"]
    axes.set_xlim(-0.5, size + extra - 0.5)
    axes.set_ylim(size - 0.5, -0.5)
    axes.set_aspect("equal")
    axes.set_xticks(ticks, names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(size), labels)
    axes.set_ylabel("true", color=MUTED, fontsize=9)
    # Below the figure and not the axes, which are narrower than it where there are two words.
    figure.supxlabel("recognised (% of the row, count)", color=MUTED, fontsize=9)
    if title:
        axes.set_title(title, loc="left", fontsize=10, color=INK)
    return figure


def curve_figure(log_history: Sequence[Mapping[str, Any]], keys: Sequence[str], label: str) -> Figure:
    """Curves of a Trainer's `log_history`: each of `keys` over epochs, or over steps where no epoch is logged."""
    time = "epoch" if all("epoch" in entry for entry in log_history) else "step"
    figure = Figure(figsize=(4.4, 2.7), layout="constrained")
    axes = figure.add_subplot()
    for position, key in enumerate(keys):
        logged = [entry for entry in log_history if key in entry]
        # The first at each place: what is logged once more at the end is of the best checkpoint, not of that epoch.
        points = sorted({entry[time]: entry[key] for entry in reversed(logged)}.items())
        hue = ACCENT if position == 0 else HUES[1:][(2 * position - 2) % (len(HUES) - 1)]
        marker = "o" if len(points) <= 40 else None
        axes.plot(
            *zip(*points, strict=True), color=hue, linewidth=1.6, marker=marker, markersize=3, label=_curve_name(key)
        )
    style_axes(axes)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_xlabel(time, color=MUTED, fontsize=9)
    axes.set_ylabel(label, color=MUTED, fontsize=9)
    axes.legend(frameon=False, fontsize=8.5, labelcolor=INK)
    return figure


def _curve_name(key: str) -> str:
    return "validation loss" if key == "eval_loss" else key.removeprefix("eval_")


def loss_keys(log_history: Sequence[Mapping[str, Any]]) -> list[str]:
    """What of a `log_history` is a loss, the total first; the Trainer's closing `train_loss` is no curve."""
    keys = {key for entry in log_history for key in entry if "loss" in key and not key.startswith("train_")}
    return sorted(keys, key=lambda key: (key != "loss", key))


def score_keys(log_history: Sequence[Mapping[str, Any]]) -> list[str]:
    """The figures of the validation split that a `log_history` holds, the ones that a reader looks for first."""
    return [
        key
        for key in ("eval_UA", "eval_WA", "eval_WF1", "eval_macro_F1")
        if any(key in entry for entry in log_history)
    ]


def embedding_figure(
    embeddings: np.ndarray, emotions: Sequence[str], languages: Sequence[str], words: Sequence[str] = ()
) -> Figure:
    """A map of emotion embeddings: colour is the emotion, the mark the language.

    Args:
        embeddings: `(num_clips, hidden_size)`; 2-D points are drawn as they are, anything wider by its two principal
            components.
        emotions, languages: one a clip.
        words: the label list, whose order gives the colours; by default the order in which emotions occur.
    """
    points = np.asarray(embeddings, dtype=np.float64)
    if points.ndim != 2 or not len(points) == len(emotions) == len(languages):
        raise ValueError(
            f"embeddings are {points.shape} for {len(emotions)} emotions and {len(languages)} languages; "
            "give (num_clips, hidden_size) and one of each a clip"
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
            # A link is what SVG can hang on one mark of many; `inline_svg` makes it the clip's caption.
            clips.set_urls([f"{_CLIP}{i}" for i in chosen])
    style_axes(axes)
    axes.grid(False)
    axes.set_xticks([])
    axes.set_yticks([])
    if principal:
        axes.set_xlabel("first principal component", color=MUTED, fontsize=9)
        axes.set_ylabel("second principal component", color=MUTED, fontsize=9)
    handles = [axes.scatter([], [], s=26, color=hue, label=emotion) for emotion, hue in hues.items()]
    if len(marks) > 1:
        handles += [axes.scatter([], [], s=26, marker=mark, color=MUTED, label=name) for name, mark in marks.items()]
    style = {"frameon": False, "fontsize": 8.5, "labelcolor": INK, "handletextpad": 0.2}
    figure.legend(handles=handles, loc="outside lower center", ncols=4, **style)
    return figure


def interval_figure(rows: Sequence[tuple[str, float, Sequence[float] | None, float]], label: str) -> Figure:
    """Figures side by side on one scale from 0 to 1: a dot, its interval as a line, chance as a tick.

    Args:
        rows: name, figure, interval (None where there is none) and chance of each, from the top.
        label: what the scale measures.
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
    style_axes(axes)
    axes.grid(False, axis="y")
    axes.set_xlim(0, 1)
    axes.set_ylim(0.4, len(rows) + 0.75)
    axes.set_yticks(places, [name for name, *_ in rows], color=INK, fontsize=9)
    axes.set_xlabel(label, color=MUTED, fontsize=9)
    return figure


def reliability_figure(bins: Sequence[Mapping[str, Any]]) -> Figure:
    """Accuracy over probability, one bar a bin, its gap to the diagonal in the colour of a warning.

    Args:
        bins: `low`, `high`, `confidence`, `accuracy` and `n` of each, as `mser_llm.evaluation.statistics.calibration`
            gives them.
    """
    figure = Figure(figsize=(3.6, 3.4), layout="constrained")
    axes = figure.add_subplot()
    most = max(one["n"] for one in bins)
    for one in bins:
        wide: dict[str, Any] = {"x": one["low"], "width": one["high"] - one["low"], "align": "edge", "linewidth": 0}
        # The paler a bar, the fewer the answers behind it.
        weight = 0.25 + 0.75 * one["n"] / most
        axes.bar(height=one["accuracy"], color=ACCENT, alpha=0.75 * weight, **wide)
        apart = one["confidence"] - one["accuracy"]
        axes.bar(height=apart, bottom=one["accuracy"], color=WARN, alpha=0.45 * weight, **wide)
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (3, 3)))
    style_axes(axes)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_aspect("equal")
    axes.set_xlabel("probability of the answer", color=MUTED, fontsize=9)
    axes.set_ylabel("fraction that is right", color=MUTED, fontsize=9)
    return figure


def write_png(figure: Figure, path: str | PathLike) -> None:
    """Writes a picture on white, whole or not at all."""
    _draw_literally(figure)
    set_fallback_fonts(figure)
    with atomic_open(path, "wb") as file, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # told once already, with the cure
        # Tight, so that a title wider than its axes is not cut off.
        figure.savefig(file, format="png", dpi=160, facecolor="white", bbox_inches="tight")


def inline_svg(figure: Figure, description: str, captions: Sequence[str] = ()) -> str:
    """The picture as an `<svg>` element: transparent, text as text, colours as variables of the page.

    Args:
        figure: the picture.
        description: what a screen reader says; it also keeps apart the ids of several pictures on one page.
        captions: of the clips of an `embedding_figure`, shown under the pointer.
    """
    _draw_literally(figure)
    buffer = io.StringIO()
    settings = {"svg.fonttype": "none", "svg.hashsalt": description}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the browser has its own fonts
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    for colour, variable in _PAGE_COLOURS.items():
        svg = svg.replace(colour, f"var({variable})")
    # Inside HTML the namespaces are known; without them the page names no address at all. The ids of groups serve
    # nobody and are the same in every picture.
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
    """Draw `$` as itself: labels, corpora and titles are users' text, which matplotlib would set as formulas."""
    for text in figure.findobj(Text):
        text.set_parse_math(False)


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace("\\", "")


def hide_frame(axes: Axes) -> None:
    """Axes with nothing but their labels."""
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0, labelsize=9, colors=INK)


def style_axes(axes: Axes) -> None:
    """Axes with two quiet spines and a grid behind what is drawn."""
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(RULE)
    axes.tick_params(length=0, labelsize=8.5, colors=MUTED)
    axes.grid(True, color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)
