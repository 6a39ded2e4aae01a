# SPDX-License-Identifier: Apache-2.0
"""Write a self-contained HTML report of an evaluation."""

import base64
import io
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from matplotlib.figure import Figure

from mser_llm.data.languages import language_name
from mser_llm.evaluation.plots import (
    confusion_figure,
    curve_figure,
    embedding_figure,
    emotion_hues,
    inline_svg,
    interval_figure,
    loss_keys,
    reliability_figure,
    score_keys,
)
from mser_llm.evaluation.predictions import Predictions
from mser_llm.evaluation.protocols import find_protocol, published_table
from mser_llm.evaluation.statistics.groups import GAPS
from mser_llm.io.atomic_files import atomic_open
from processing_mser.audio_mser import SAMPLING_RATE, AudioError, load_audio


# A minute of audio adds 2 MB to the page.
_EXAMPLE_SECONDS = 20
_ERROR_SECONDS = 6
# More gaps would push the model and its metrics off the first screen.
_FIRST_GAPS = 3


@dataclass(frozen=True)
class ExamplePrediction:
    """A playable clip with its prediction: `audio` in any form of `load_audio`, the rest from `Recognition`."""

    audio: Any
    label: str
    scores: Mapping[str, float]
    truth: str | None = None
    caption: str = ""


@dataclass(frozen=True)
class EmbeddingMap:
    """
    Emotion embeddings `(num_clips, hidden_size)` or their 2-D positions, with the emotion, language and tooltip of
    each clip.
    """

    embeddings: np.ndarray
    emotions: Sequence[str]
    languages: Sequence[str]
    captions: Sequence[str] = ()


def write_report(
    results: Mapping[str, Any],
    output_path: str | PathLike,
    *,
    title: str = "Speech emotion recognition",
    introduction: str = "",
    log_history: Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    embeddings: EmbeddingMap | None = None,
    example: ExamplePrediction | None = None,
    predictions: Predictions | None = None,
    configuration: Mapping[str, Any] | None = None,
) -> Path:
    """Write the report of one evaluation as a single page with style, plots and audio included.

    Args:
        results: from `evaluate_corpora` or read from `results.json`.
        introduction: a sentence or two about the evaluation, plain text.
        log_history: `trainer.state.log_history`, or several by name of their stage.
        embeddings: shown as a map.
        example: a playable clip with the probability of each label.
        predictions: all predictions; the worst errors can be played if their files are readable.
        configuration: settings to show; nested mappings are flattened.

    Returns:
        `output_path`.
    """
    output_path = Path(output_path)
    columns = dict(results["corpora"])
    if "pooled" in results:
        columns["all corpora"] = results["pooled"]
    headline = results.get("pooled") or next(iter(results["corpora"].values()))
    published = (
        published_table(find_protocol(results["protocol"]["name"]), headline) if "protocol" in results else None
    )
    groups = [
        (f"{by.capitalize()}, {corpus}", by, metrics["groups"][by]["groups"])
        for corpus, metrics in columns.items()
        for by in GAPS
        if by in (metrics.get("groups") or {})
    ]
    template = page_environment("mser_llm.evaluation").get_template("report.html.j2")
    page = template.render(
        results=results,
        title=title,
        introduction=introduction,
        headline=headline,
        published=published,
        columns=columns,
        matrices=_matrices(columns, results["labels"]),
        leak_warnings=leak_warnings(results),
        gaps=top_gaps(results),
        bars=_bars(columns),
        groups=groups,
        calibration=list(_calibration(results["corpora"])),
        errors=[] if predictions is None else list(_errors(predictions)),
        curves=list(_curves(log_history)),
        map=None if embeddings is None else _map(embeddings, results["labels"]),
        example=None if example is None else _example(example, results["labels"]),
        configuration=dict(_flat(configuration or {})),
        today=date.today().isoformat(),
    )
    output_path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_open(output_path) as file:
        file.write(page)
    return output_path


def page_environment(package: str) -> Environment:
    """Load the page templates of `package` with the filters and the style sheet that all pages share."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(name, "templates") for name in (package, __package__)]),
        autoescape=select_autoescape(["html", "j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["metric"] = lambda value: f"{value:.3f}"
    environment.filters["count"] = lambda value: f"{value:,}".replace(",", "\u202f")
    environment.filters["language"] = language_name
    environment.filters["range"] = lambda bounds: f"{bounds[0]:.3f}–{bounds[1]:.3f}"
    environment.filters["span"] = lambda bounds: f"{bounds[0]:.3f} to {bounds[1]:.3f}"
    return environment


def page_picture(figure: Figure, description: str, captions: Sequence[str] = ()) -> Markup:
    """Render a plot for a template; arguments as in `inline_svg`."""
    # matplotlib escapes its text, and `inline_svg` the description and captions.
    return Markup(inline_svg(figure, description, captions))


def leak_warnings(results: Mapping[str, Any]) -> list[str]:
    """Format warnings about training data that overlaps with the test, with or without emotion labels."""
    leak = results.get("leak") or {}
    marks = [f"{leak['mark'][0].upper()}{leak['mark'][1:]}."] if leak.get("mark") else []
    if not leak.get("found"):
        return marks
    names = [
        *(f"the corpus {name}" for name in leak["corpora"]),
        *(f"the language {name}" for name in leak["languages"]),
        *([f"{len(leak['speakers'])} of the speakers"] if leak["speakers"] else []),
        *([f"{len(leak['recordings'])} of the recordings"] if leak["recordings"] else []),
    ]
    return [
        f"The model was trained on parts of this test: {', '.join(names)} ({leak['clips']} of {leak['tested']} "
        "clips). These results do not show how it performs on unseen speech.",
        *marks,
    ]


def top_gaps(results: Mapping[str, Any]) -> dict[str, Any] | None:
    """
    Select the statistically significant gaps between groups, which are the first of the results.

    Returns:
        `shown`, the first flagged gaps; `more`, the number of further ones; `largest`, the largest gap of all. None
        for results without gaps.
    """
    if "gaps" not in results:
        return None
    found = [_named(gap) for gap in results["gaps"]]
    flagged = [gap for gap in found if gap["flagged"]]
    return {
        "shown": flagged[:_FIRST_GAPS],
        "more": len(flagged[_FIRST_GAPS:]),
        "largest": max(found, key=lambda gap: gap["gap"], default=None),
    }


def _named(gap: Mapping[str, Any]) -> dict[str, Any]:
    name: Callable[[str], str] = language_name if gap["by"] == "language" else str
    where = {"corpus": f"on {gap['name']}", "language": f"in {language_name(gap['name'] or '')}"}
    bars = sorted(gap["groups"].items(), key=lambda item: item[1])
    return {
        **gap,
        "where": where.get(gap["scope"], "over all corpora"),
        "best_name": name(gap["best"]),
        "worst_name": name(gap["worst"]),
        "bars": [(name(group), value) for group, value in bars],
    }


def worst_errors(predictions: Predictions, count: int = 8, of_a_pair: int = 2) -> list[int]:
    """
    Find the wrong predictions with the highest probability.

    Args:
        count: the maximum number of errors.
        of_a_pair: the maximum per pair of true and predicted label, so that the most frequent confusion does not fill
            the list.

    Returns:
        their positions, the highest probability first; empty for a system without probabilities.
    """
    if predictions.scores is None:
        return []
    column = {word: index for index, word in enumerate(predictions.labels)}
    both = zip(predictions.truths, predictions.predicted, strict=True)
    wrong = [i for i, (truth, label) in enumerate(both) if truth != label and label in column]
    confidence = np.array([predictions.scores[i, column[str(predictions.predicted[i])]] for i in wrong])
    pairs: Counter[tuple[str, str | None]] = Counter()
    chosen: list[int] = []
    for position in np.argsort(-confidence, kind="stable"):
        index = wrong[position]
        pair = predictions.truths[index], predictions.predicted[index]
        pairs[pair] += 1
        if pairs[pair] <= of_a_pair:
            chosen.append(index)
        if len(chosen) == count:
            break
    return chosen


def _bars(columns: Mapping[str, Mapping[str, Any]]) -> Markup | None:
    """Plot the UA of each corpus with its interval; return None if there is no interval."""
    rows = [
        (name, metrics["UA"], (metrics.get("intervals") or {}).get("UA"), metrics["chance"])
        for name, metrics in columns.items()
    ]
    if not any(bounds for _, _, bounds, _ in rows):
        return None
    return page_picture(
        interval_figure(rows, "UA with 95 % interval over speakers (tick: chance)"), "UA of each corpus"
    )


def _calibration(corpora: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, float, Markup]]:
    for name, metrics in corpora.items():
        found = metrics.get("calibration")
        if found:
            picture = page_picture(reliability_figure(found["bins"]), f"Reliability of probabilities, {name}")
            yield name, found["ece"], picture


def _errors(predictions: Predictions) -> Iterator[dict[str, Any]]:
    for index in worst_errors(predictions):
        assert predictions.scores is not None, "worst_errors returns none without probabilities"
        file, truth, label = predictions.files[index], predictions.truths[index], predictions.predicted[index]
        if file is None:
            continue
        try:
            sound = _sound(file, _ERROR_SECONDS)
        except (AudioError, OSError):
            continue
        known = (predictions.corpora, predictions.ids, predictions.speakers, predictions.genders)
        language = predictions.languages[index]
        named = [*(values[index] for values in known), language_name(language) if language else None]
        scores = dict(zip(predictions.labels, predictions.scores[index], strict=True))
        yield {
            "truth": truth,
            "label": label,
            "probability": scores[str(label)],
            "truth_probability": scores[truth],
            "sound": sound,
            "caption": ", ".join(one for one in named if one),
        }


def _matrices(columns: Mapping[str, Mapping[str, Any]], labels: Sequence[str]) -> dict[str, Markup]:
    # If one corpus has unparsed predictions, all matrices get the column, so that they have the same scale.
    unparsed = any(any(metrics["confusion_unparsed"]) for metrics in columns.values())
    return {
        name: page_picture(
            confusion_figure(metrics["confusion"], labels, metrics["confusion_unparsed"] if unparsed else None),
            f"Confusion matrix, {name}",
        )
        for name, metrics in columns.items()
    }


def _curves(
    log_history: Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Mapping[str, Any]]] | None,
) -> Iterator[tuple[str, list[Markup]]]:
    """Plot the losses and validation metrics of each stage."""
    histories = log_history if isinstance(log_history, Mapping) else {"training": log_history or []}
    for stage, history in histories.items():
        panels = [
            page_picture(curve_figure(history, keys, label), f"{label}, {stage}")
            for keys, label in ((loss_keys(history), "loss"), (score_keys(history), "validation metrics"))
            if keys
        ]
        if panels:
            yield stage, panels


def _map(embeddings: EmbeddingMap, labels: Sequence[str]) -> Markup:
    languages = [language_name(code) for code in embeddings.languages]
    figure = embedding_figure(embeddings.embeddings, embeddings.emotions, languages, labels)
    return page_picture(figure, "Map of emotion embeddings", embeddings.captions)


def _example(example: ExamplePrediction, labels: Sequence[str]) -> dict[str, Any]:
    hues = emotion_hues([*labels, *example.scores])
    return {
        "sound": _sound(example.audio, _EXAMPLE_SECONDS),
        "label": example.label,
        "truth": example.truth,
        "caption": example.caption,
        "bars": [(word, score, hues[word]) for word, score in example.scores.items()],
    }


def _sound(audio: Any, seconds: float) -> str:
    """Encode the beginning of a clip as a data URL."""
    sound = io.BytesIO()
    waveform = load_audio(audio)[: int(seconds * SAMPLING_RATE)]
    soundfile.write(sound, waveform, SAMPLING_RATE, format="WAV", subtype="PCM_16")
    return "data:audio/wav;base64," + base64.b64encode(sound.getvalue()).decode("ascii")


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
