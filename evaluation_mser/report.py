# SPDX-License-Identifier: Apache-2.0
"""One HTML page that tells what a model can do: nothing to install, nothing to fetch, readable on a telephone."""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from matplotlib.figure import Figure

from data_mser.whole_files import whole_file
from evaluation_mser.plots import (
    confusion_figure,
    curve_figure,
    embedding_figure,
    emotion_hues,
    inline_svg,
    loss_keys,
    score_keys,
)
from processing_mser.audio_mser import SAMPLING_RATE, load_audio


LANGUAGES = {
    "ar": "Arabic", "bn": "Bengali", "de": "German", "el": "Greek", "en": "English", "es": "Spanish", "fa": "Persian",
    "fr": "French", "hi": "Hindi", "it": "Italian", "ja": "Japanese", "ko": "Korean", "nl": "Dutch", "pl": "Polish",
    "pt": "Portuguese", "ru": "Russian", "tr": "Turkish", "ur": "Urdu", "zh": "Mandarin",
}  # fmt: skip
# A minute of sound is 2 MB of page.
_EXAMPLE_SECONDS = 20


@dataclass(frozen=True)
class ExamplePrediction:
    """One clip to be heard beside its answer: `audio` in any form of `load_audio`, the rest from `Recognition`."""

    audio: Any
    label: str
    scores: Mapping[str, float]
    truth: str | None = None
    caption: str = ""


@dataclass(frozen=True)
class EmbeddingMap:
    """Emotion embeddings `(num_clips, hidden_size)` or their 2-D positions, with the emotion and language of each."""

    embeddings: np.ndarray
    emotions: Sequence[str]
    languages: Sequence[str]


def write_report(
    results: Mapping[str, Any],
    output_path: str | PathLike,
    *,
    title: str = "Speech emotion recognition",
    introduction: str = "",
    log_history: Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    embeddings: EmbeddingMap | None = None,
    example: ExamplePrediction | None = None,
    configuration: Mapping[str, Any] | None = None,
) -> Path:
    """Writes the report of one evaluation: a single page with its style, pictures and sound inside.

    Args:
        results: as `evaluate_corpora` returns them, or `results.json` read back.
        output_path: the page, written whole or not at all.
        title: the page's heading.
        introduction: a sentence or two about what was measured, plain text.
        log_history: `trainer.state.log_history`, or several by the name of their stage.
        embeddings: drawn as a map, if given.
        example: a clip that can be played, with the probability of each word, if given.
        configuration: settings to be shown; nested mappings are flattened.

    Returns:
        `output_path`.
    """
    output_path = Path(output_path)
    columns = dict(results["corpora"])
    if "pooled" in results:
        columns["all corpora"] = results["pooled"]
    template = page_environment().get_template("report.html.j2")
    page = template.render(
        results=results,
        title=title,
        introduction=introduction,
        headline=results.get("pooled") or next(iter(results["corpora"].values())),
        columns=columns,
        matrices=_matrices(columns, results["labels"]),
        curves=list(_curves(log_history)),
        map=None if embeddings is None else _map(embeddings, results["labels"]),
        example=None if example is None else _example(example, results["labels"]),
        configuration=dict(_flat(configuration or {})),
        today=date.today().isoformat(),
    )
    output_path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(output_path) as file:
        file.write(page)
    return output_path


def page_environment() -> Environment:
    """Where the templates of pages come from, with the filters that they use."""
    environment = Environment(
        loader=PackageLoader("evaluation_mser", "templates"),
        autoescape=select_autoescape(["html", "j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = lambda value: f"{value:.3f}"
    environment.filters["count"] = lambda value: f"{value:,}".replace(",", "\u202f")
    environment.filters["language"] = lambda code: LANGUAGES.get(code, code)
    return environment


def page_picture(figure: Figure, description: str) -> Markup:
    """A picture as a template takes it."""
    # matplotlib escapes the text that it draws, and `inline_svg` the description.
    return Markup(inline_svg(figure, description))


def _matrices(columns: Mapping[str, Mapping[str, Any]], labels: Sequence[str]) -> dict[str, Markup]:
    # One corpus with unparsed answers gives all matrices the column: side by side they are to have one scale.
    apart = any(any(figures["confusion_unparsed"]) for figures in columns.values())
    return {
        name: page_picture(
            confusion_figure(figures["confusion"], labels, figures["confusion_unparsed"] if apart else None),
            f"Confusion matrix, {name}",
        )
        for name, figures in columns.items()
    }


def _curves(
    log_history: Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Mapping[str, Any]]] | None,
) -> Iterator[tuple[str, list[Markup]]]:
    """Stage by stage: the losses, and beside them the figures of the validation split."""
    histories = log_history if isinstance(log_history, Mapping) else {"training": log_history or []}
    for stage, history in histories.items():
        panels = [
            page_picture(curve_figure(history, keys, label), f"{label}, {stage}")
            for keys, label in ((loss_keys(history), "loss"), (score_keys(history), "on the validation split"))
            if keys
        ]
        if panels:
            yield stage, panels


def _map(embeddings: EmbeddingMap, labels: Sequence[str]) -> Markup:
    languages = [LANGUAGES.get(code, code) for code in embeddings.languages]
    figure = embedding_figure(embeddings.embeddings, embeddings.emotions, languages, labels)
    return page_picture(figure, "Map of emotion embeddings")


def _example(example: ExamplePrediction, labels: Sequence[str]) -> dict[str, Any]:
    waveform = load_audio(example.audio)[: _EXAMPLE_SECONDS * SAMPLING_RATE]
    sound = io.BytesIO()
    soundfile.write(sound, waveform, SAMPLING_RATE, format="WAV", subtype="PCM_16")
    hues = emotion_hues([*labels, *example.scores])
    return {
        "sound": "data:audio/wav;base64," + base64.b64encode(sound.getvalue()).decode("ascii"),
        "label": example.label,
        "truth": example.truth,
        "caption": example.caption,
        "bars": [(word, score, hues[word]) for word, score in example.scores.items()],
    }


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
