# SPDX-License-Identifier: Apache-2.0
"""Read the metrics of evaluations for a model card: its table and its `model-index`."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult

from mser_llm.data.corpora import CORPORA
from mser_llm.data.splits import SpeakerLeakError
from mser_llm.io.errors import InputError
from mser_llm.io.spreadsheets import unescape_formula


# Metric of `results.json`: the Hub's metric, its variant, its name.
METRICS = {
    "UA": ("recall", "macro", "UA (unweighted accuracy)"),
    "WA": ("accuracy", None, "WA (accuracy)"),
    "WF1": ("f1", "weighted", "WF1 (F1 weighted by support)"),
    "macro_F1": ("f1", "macro", "macro-F1"),
}
_SHOWN_SPEAKERS = 5


class ResultsError(InputError):
    """A `results.json` is missing or invalid."""


def read_results(path: str | Path, trained_on: Iterable[str] = ()) -> dict[str, Any]:
    """
    Read a `results.json`; a `predictions.csv` next to it must not contain a speaker that the model was `trained_on`.

    Raises:
        ResultsError: there is no such file, or `run-mser evaluate` did not write it.
        SpeakerLeakError: the test data and the training data overlap.
    """
    file = Path(path).expanduser()
    fix = "pass a results.json that run-mser evaluate wrote"
    try:
        results = json.loads(file.read_text(encoding="utf-8"))
        results["corpora"].items(), results["labels"], results["prompt"], results["label_set"]
    except OSError as error:
        raise ResultsError(file, f"cannot be read ({error.strerror})", fix) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ResultsError(file, "is not the result of an evaluation", fix) from None
    speakers: set[str] = set()
    if (predictions := file.with_name("predictions.csv")).is_file():
        with open(predictions, newline="", encoding="utf-8") as lines:
            speakers = {unescape_formula(line["speaker"]) for line in csv.DictReader(lines) if line.get("speaker")}
    leaked = sorted(speakers & set(trained_on))
    if leaked:
        shown = ", ".join(leaked[:_SHOWN_SPEAKERS]) + (", …" if len(leaked) > _SHOWN_SPEAKERS else "")
        raise SpeakerLeakError(
            f"{file}: {len(leaked)} of its speakers were in the training data ({shown}); evaluate on other speakers"
        )
    if results.get("leak", {}).get("found"):
        raise SpeakerLeakError(
            f"{file}: {results['leak']['clips']} of its clips were in the training data (--allow_leak); evaluate on "
            "other speech, because a card shows metrics on unseen speech only"
        )
    return results


def model_index(evaluations: Sequence[Mapping[str, Any]]) -> list[EvalResult]:
    """Return one entry per corpus and metric, with the prompt, the label set and the interval."""
    return [
        EvalResult(
            task_type="audio-classification",
            task_name="Speech Emotion Recognition",
            dataset_type=name.split(":")[0],
            dataset_name=title(name),
            dataset_split="test",
            dataset_args={"label_set": results["label_set"], "labels": results["labels"], "clips": corpus["n"]},
            metric_type=kind,
            metric_name=metric_name,
            metric_config=variant,
            metric_args={**_settings(results), **_interval(corpus, metric)},
            metric_value=round(corpus[metric], 4),
        )
        for results in evaluations
        for name, corpus in results["corpora"].items()
        for metric, (kind, variant, metric_name) in METRICS.items()
    ]


def metric_rows(evaluations: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of the card's table of metrics."""
    return [
        {
            "corpus": title(name),
            "languages": ", ".join(corpus.get("languages", [])) or "not stated",
            "labels": ", ".join(results["labels"]),
            "how": ", ".join(f"{setting} {value}" for setting, value in _settings(results).items()),
            **{metric: corpus[metric] for metric in (*METRICS, "n", "chance")},
            "interval": (corpus.get("intervals") or {}).get("UA"),
        }
        for results in evaluations
        for name, corpus in results["corpora"].items()
    ]


def title(name: str) -> str:
    """Return the published name of a known corpus, else the name that the user gave."""
    corpus = name.split(":")[0]
    return CORPORA[corpus].title if corpus in CORPORA else corpus


def _settings(results: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that change the metrics; a classifier has no prompt."""
    settings = {"prompt": results["prompt"], "decode": results.get("decode", "score"), "pad_to": results.get("pad_to")}
    settings |= {name: True for name in ("length_normalize", "prior_correction") if results.get(name)}
    return {name: value for name, value in settings.items() if value is not None}


def _interval(corpus: Mapping[str, Any], metric: str) -> dict[str, Any]:
    """Return the 95 % interval of a metric and its number of speakers; empty if there is none."""
    ends = (corpus.get("intervals") or {}).get(metric)
    if ends is None:
        return {}
    return {"interval_95": [round(end, 4) for end in ends], "speakers": corpus["clusters"]}
