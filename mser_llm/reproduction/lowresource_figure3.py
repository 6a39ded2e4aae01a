# SPDX-License-Identifier: Apache-2.0
"""Figure 3 of the low-resource paper (Gong et al.): embeddings of several models by corpus, with metrics."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from mser_llm.evaluation.labeled_clips import LabeledClips
from mser_llm.evaluation.plots import INK, emotion_hues, write_png
from mser_llm.evaluation.protocols import check_leak, read_training_record
from mser_llm.io.atomic_files import write_json
from mser_llm.reproduction.clusters import CLUSTER_METRICS, cluster_metrics, summarize_over_speakers
from mser_llm.reproduction.embeddings import model_embeddings
from mser_llm.reproduction.figure4 import Projection, add_legend, draw_panel, projector
from mser_llm.reproduction.formatting import format_interval
from processing_mser import LabelSet


def lowresource_figure3(
    models: Sequence[Path],
    tests: Mapping[str, Sequence[Mapping[str, Any]]],
    labels: LabelSet,
    output_dir: Path,
    projection: Projection = "tsne",
    allow_leak: bool = False,
    device: str = "auto",
) -> list[dict[str, Any]]:
    """
    Write `lowresource-figure3.png`, with a row per corpus and a column per model, and `.json`.

    Return the metrics of each corpus and model, with their `difference` from the first model, which is the baseline.
    """
    project = projector(projection)
    figure = Figure(figsize=(3.6 * len(models), 0.6 + 3.5 * len(tests)), layout="constrained")
    panels = figure.subplots(len(tests), len(models), squeeze=False)
    hues = emotion_hues(labels.words)
    results: list[dict[str, Any]] = []
    for row, (corpus, rows) in enumerate(tests.items()):
        clips = LabeledClips.from_rows(corpus, rows, labels)
        baseline: dict[str, Any] = {}
        for column, model in enumerate(models):
            record = read_training_record(model)
            leak = None if record is None else check_leak(record, clips.rows, allow=allow_leak)
            found = model_embeddings(model, clips, output_dir / "embeddings", device)
            speakers = found.clips.speakers
            figures = cluster_metrics(found.values, found.emotions, found.languages, speakers)
            baseline = baseline or figures
            one: dict[str, Any] = {"corpus": corpus, "model": str(model), "n": len(found.clips)}
            one |= {"leak": "no training record" if leak is None else str(leak)}
            one |= {name: summarize_over_speakers([figures[name]], speakers) for name in CLUSTER_METRICS}
            one["difference"] = {
                name: summarize_over_speakers([figures[name] - baseline[name]], speakers)
                for name in ("silhouette", "purity")
            }
            results.append(one)
            marks = dict.fromkeys(sorted(set(found.languages)), "o")
            draw_panel(panels[row][column], project(found.values), found, hues, marks)
            metrics = "\n".join(f"{name} {format_interval(one[name])}" for name in ("silhouette", "purity"))
            panels[row][column].set_title(f"{corpus}, {model.name}\n{metrics}", loc="left", fontsize=9, color=INK)
    add_legend(figure, panels[0][0], hues, {})
    output_dir.mkdir(parents=True, exist_ok=True)
    write_png(figure, output_dir / "lowresource-figure3.png")
    write_json(output_dir / "lowresource-figure3.json", {"projection": projection, "figures": results})
    return results
