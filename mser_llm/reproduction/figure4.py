# SPDX-License-Identifier: Apache-2.0
"""Figure 4 of the paper: emotion embeddings of a test corpus without and with the contrast, and their separation.

The paper shows a t-SNE and evaluates it by eye. A t-SNE creates clusters by itself, so metrics are added here.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mser_llm.evaluation.plots import INK, MARKERS, MUTED, emotion_hues, style_axes, write_png
from mser_llm.evaluation.protocols import check_leak, read_training_record
from mser_llm.io.atomic_files import write_json
from mser_llm.reproduction.clusters import CLUSTER_METRICS, NEIGHBOURS, cluster_metrics, summarize_over_speakers
from mser_llm.reproduction.embeddings import Embeddings, model_embeddings
from mser_llm.reproduction.evaluation_cache import EvaluationSet
from mser_llm.reproduction.formatting import format_interval
from mser_llm.reproduction.published import FIGURE_4_NOTE
from processing_mser import LabelSet


Projection = Literal["tsne", "umap"]
WITHOUT, WITH = "without contrast", "with contrast"


def figure4(
    models: Mapping[str, Sequence[Path]],
    tests: Mapping[str, Sequence[Mapping[str, Any]]],
    labels: LabelSet,
    output_dir: Path,
    projection: Projection = "tsne",
    allow_leak: bool = False,
    device: str = "auto",
) -> dict[str, Any]:
    """
    Write `figure4.png` and `figure4.json`.

    Args:
        models: folders of the models `WITHOUT` and `WITH`, one per seed, the same number of both.
        tests: rows of each test corpus by name.
        labels: clips with other emotions are left out.
        output_dir: created if needed; embeddings are cached in it.
        projection: of the picture, which shows the first model of each; the metrics are of all, before projection.
        allow_leak, device: as in `Experiment`.

    Returns:
        The content of `figure4.json`: for `WITHOUT` and `WITH` each of `CLUSTER_METRICS` as `summarize_over_speakers`
        returns it, their `difference` (with minus without) and the `points` of the picture.
    """
    project = projector(projection)
    clips = EvaluationSet(tests, labels).clips
    records = [read_training_record(folder) for folders in models.values() for folder in folders]
    leaks = [str(check_leak(record, clips.rows, allow=allow_leak)) for record in records if record is not None]
    found = {
        name: [model_embeddings(folder, clips, output_dir / "embeddings", device) for folder in folders]
        for name, folders in models.items()
    }
    shown = found[WITHOUT][0].clips
    speakers = shown.speakers
    each = {
        name: [cluster_metrics(one.values, one.emotions, one.languages, speakers) for one in own]
        for name, own in found.items()
    }
    results: dict[str, Any] = {
        "corpora": list(tests),
        "labels": list(labels.words),
        "n": len(shown),
        "neighbours": NEIGHBOURS,
        "neighbours_among": "other languages" if len(set(found[WITHOUT][0].languages)) > 1 else "other speakers",
        "projection": projection,
        "note": FIGURE_4_NOTE,
        "leaks": list(dict.fromkeys([*leaks, *(["a model has no training record"] if None in records else [])])),
        "models": {name: [str(folder) for folder in folders] for name, folders in models.items()},
    }
    for name, own in each.items():
        results[name] = {
            figure: summarize_over_speakers([one[figure] for one in own], speakers) for figure in CLUSTER_METRICS
        }
    results["difference"] = {
        figure: summarize_over_speakers(
            [one[figure] - other[figure] for one, other in zip(each[WITH], each[WITHOUT], strict=True)], speakers
        )
        for figure in ("silhouette", "purity")
    }
    points = {name: project(own[0].values) for name, own in found.items()}
    results["points"] = {
        name: [
            {"id": row["id"], "emotion": emotion, "language": row["language"], "x": float(x), "y": float(y)}
            for row, emotion, (x, y) in zip(shown.rows, shown.truths, points[name], strict=True)
        ]
        for name in found
    }
    output_dir.mkdir(parents=True, exist_ok=True)
    write_png(picture(points, found[WITHOUT][0], results, labels.words), output_dir / "figure4.png")
    write_json(output_dir / "figure4.json", results)
    return results


def projector(projection: Projection) -> Any:
    """Return a function from `(num_clips, hidden_size)` to `(num_clips, 2)` over cosine distances."""
    if projection == "umap":
        try:
            from umap import UMAP
        except ImportError:
            raise ImportError(
                "UMAP is not installed; pip install 'mser-llm[umap]', or pass --projection tsne"
            ) from None
        return lambda rows: UMAP(metric="cosine", random_state=0, n_jobs=1).fit_transform(rows)
    from sklearn.manifold import TSNE

    def tsne(rows: np.ndarray) -> np.ndarray:
        perplexity = min(30.0, (len(rows) - 1) / 3)
        return TSNE(metric="cosine", init="pca", perplexity=perplexity, random_state=0).fit_transform(rows)

    return tsne


def picture(
    points: Mapping[str, np.ndarray], shown: Embeddings, results: Mapping[str, Any], words: Sequence[str]
) -> Figure:
    """Draw two panels; the color is the emotion, the marker the language."""
    figure = Figure(figsize=(9.0, 4.9), layout="constrained")
    panels = figure.subplots(1, 2)
    present = set(shown.emotions)
    hues = {word: hue for word, hue in emotion_hues(words).items() if word in present}
    marks = dict(zip(sorted(set(shown.languages)), MARKERS * len(shown.languages)))
    for axes, (name, places) in zip(panels, points.items(), strict=True):
        draw_panel(axes, places, shown, hues, marks)
        metrics = [f"{metric} {format_interval(results[name][metric])}" for metric in ("silhouette", "purity")]
        axes.set_title(f"{name}\n{', '.join(metrics)}", loc="left", fontsize=10, color=INK)
    add_legend(figure, panels[0], hues, marks if len(marks) > 1 else {})
    return figure


def draw_panel(
    axes: Axes, places: np.ndarray, shown: Embeddings, hues: Mapping[str, str], marks: Mapping[str, str]
) -> None:
    """Clips at their places `(num_clips, 2)`, coloured by emotion and marked by language."""
    for emotion, hue in hues.items():
        for language, mark in marks.items():
            chosen = (shown.emotions == emotion) & (shown.languages == language)
            across, up = places[chosen].T
            axes.scatter(across, up, s=20, marker=mark, color=hue, alpha=0.75, linewidths=0)
    style_axes(axes)
    axes.grid(False)
    axes.set_xticks([])
    axes.set_yticks([])


def add_legend(figure: Figure, axes: Axes, hues: Mapping[str, str], marks: Mapping[str, str]) -> None:
    """Add the emotions with their colors and the languages with their markers below the panels."""
    handles = [axes.scatter([], [], s=26, color=hue, label=emotion) for emotion, hue in hues.items()]
    handles += [axes.scatter([], [], s=26, marker=mark, color=MUTED, label=code) for code, mark in marks.items()]
    style: dict[str, Any] = {"frameon": False, "fontsize": 8.5, "labelcolor": INK, "handletextpad": 0.2}
    figure.legend(handles=handles, loc="outside lower center", ncols=7, **style)


def summary(results: Mapping[str, Any]) -> str:
    """Format the metrics as lines of text."""
    lines = [
        f"{results['n']} clips of {', '.join(results['corpora'])}; neighbours among {results['neighbours_among']}"
    ]
    for figure in CLUSTER_METRICS:
        parts = [f"{name} {format_interval(results[name][figure])}" for name in (WITHOUT, WITH)]
        if figure in results["difference"]:
            parts.append(f"difference {format_interval(results['difference'][figure])}")
        lines.append(f"{figure:<14} {'   '.join(parts)}")
    return "\n".join([*lines, *results["leaks"], results["note"]])
