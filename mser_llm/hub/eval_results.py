# SPDX-License-Identifier: Apache-2.0
"""The figures that `run-mser evaluate` wrote, as a model card shows them and its `model-index` lists them."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult

from mser_llm.data.corpora import CORPORA
from mser_llm.data.splits import SpeakerLeakError
from mser_llm.io.spreadsheets import unescape_formula


# Figure of `results.json`: the Hub's metric, its variant, its name.
METRICS = {
    "UA": ("recall", "macro", "UA (unweighted accuracy)"),
    "WA": ("accuracy", None, "WA (accuracy)"),
    "WF1": ("f1", "weighted", "WF1 (F1 weighted by support)"),
    "macro_F1": ("f1", "macro", "macro-F1"),
}
_SHOWN = 5


class ResultsError(ValueError):
    """A `results.json` that is missing or is not one."""


def read_results(path: str | Path, trained_on: Iterable[str] = ()) -> dict[str, Any]:
    """
    A `results.json`.

    Args:
        path: of the file.
        trained_on: the speakers of the training; where `predictions.csv` lies beside the file, none may be in it.

    Raises:
        ResultsError: there is no such file, or `run-mser evaluate` did not write it.
        SpeakerLeakError: it was measured on what training heard.
    """
    file = Path(path).expanduser()
    try:
        results = json.loads(file.read_text(encoding="utf-8"))
        results["corpora"].items(), results["labels"], results["prompt"], results["label_set"]
    except OSError as error:
        raise ResultsError(
            f"{file}: cannot be read ({error.strerror}); give a results.json that run-mser evaluate wrote"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ResultsError(
            f"{file}: holds no results of an evaluation; give a results.json that run-mser evaluate wrote"
        ) from None
    leaked = sorted(_speakers(file.with_name("predictions.csv")) & set(trained_on))
    if leaked:
        raise SpeakerLeakError(
            f"{file}: was measured on {len(leaked)} speakers whom the model was trained on "
            f"({', '.join(leaked[:_SHOWN])}{', …' if len(leaked) > _SHOWN else ''}); evaluate on other speakers"
        )
    if results.get("leak", {}).get("found"):
        raise SpeakerLeakError(
            f"{file}: was measured with --allow_leak on {results['leak']['clips']} clips that training heard; a card "
            "shows figures on unheard speech only, so evaluate on other speech"
        )
    return results


def eval_results(all_results: Sequence[Mapping[str, Any]]) -> list[EvalResult]:
    """One entry of the `model-index` for each figure of each corpus, with its prompt, label set and interval."""
    return [
        EvalResult(
            task_type="audio-classification",
            task_name="Speech Emotion Recognition",
            dataset_type=name.split(":")[0],
            dataset_name=title(name),
            dataset_split="test",
            dataset_args={"label_set": results["label_set"], "labels": results["labels"], "clips": figures["n"]},
            metric_type=kind,
            metric_name=metric_name,
            metric_config=variant,
            metric_args={**_choices(results), **_interval(figures, figure)},
            metric_value=round(figures[figure], 4),
        )
        for results in all_results
        for name, figures in results["corpora"].items()
        for figure, (kind, variant, metric_name) in METRICS.items()
    ]


def figure_rows(all_results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The lines of the card's table of figures."""
    return [
        {
            "corpus": title(name),
            "languages": ", ".join(figures.get("languages", [])) or "not stated",
            "labels": ", ".join(results["labels"]),
            "how": ", ".join(f"{choice} {value}" for choice, value in _choices(results).items()),
            **{name: figures[name] for name in (*METRICS, "n", "chance")},
            "interval": (figures.get("intervals") or {}).get("UA"),
        }
        for results in all_results
        for name, figures in results["corpora"].items()
    ]


def title(name: str) -> str:
    """What a corpus is called on a card: one of the known, or the name that it was given."""
    corpus = name.split(":")[0]
    return CORPORA[corpus].title if corpus in CORPORA else corpus


def _choices(results: Mapping[str, Any]) -> dict[str, Any]:
    """What was chosen and moves the figures; a classifier has no prompt."""
    wanted = {"prompt": results["prompt"], "decode": results.get("decode", "score"), "pad_to": results.get("pad_to")}
    wanted |= {name: True for name in ("length_normalize", "prior_correction") if results.get(name)}
    return {name: value for name, value in wanted.items() if value is not None}


def _interval(figures: Mapping[str, Any], figure: str) -> dict[str, Any]:
    """The 95 % interval of a figure and the speakers on which it rests; nothing where there is none."""
    ends = (figures.get("intervals") or {}).get(figure)
    if ends is None:
        return {}
    return {"interval_95": [round(end, 4) for end in ends], "speakers": figures["clusters"]}


def _speakers(predictions: Path) -> set[str]:
    if not predictions.is_file():
        return set()
    with open(predictions, newline="", encoding="utf-8") as file:
        return {unescape_formula(line["speaker"]) for line in csv.DictReader(file) if line.get("speaker")}
