# SPDX-License-Identifier: Apache-2.0
"""A model over labelled corpora: figures, every prediction, and the confusion matrices, written whole."""

import csv
import json
import platform
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from itertools import compress
from os import PathLike
from pathlib import Path
from typing import IO, Any, Literal

from tqdm.auto import tqdm

from data_mser.whole_files import whole_file
from evaluation_mser.metrics import emotion_metrics
from evaluation_mser.recognition import Recognition, recognise
from processing_mser.emotions_mser import LabelSet
from processing_mser.emotions_mser import label_set as as_label_set


Row = Mapping[str, Any]


class EvaluationError(ValueError):
    """Nothing that could be measured."""


def evaluate_corpora(
    model: Any,
    processor: Any,
    corpora: Mapping[str, Sequence[Row]],
    label_set: str | Sequence[str] | LabelSet,
    *,
    decode: Literal["score", "generate"] = "score",
    batch_size: int = 16,
    output_dir: str | PathLike | None = None,
    model_name: str | None = None,
    progress: bool = True,
    length_normalize: bool = False,
    prior_correction: bool = False,
) -> dict[str, Any]:
    """Measures a model on corpora, each for itself.

    Args:
        model, processor: `MSERForEmotionGeneration` and its `MSERProcessor`.
        corpora: the name of each corpus and its rows, as `read_corpus(...).rows`.
        label_set: a name, words, or the set; a row whose emotion it does not hold is dropped and counted.
        decode, batch_size, length_normalize, prior_correction: as in `recognise`.
        output_dir: where `results.json`, `predictions.csv` and a `confusion_NAME.png` for each corpus are written, all
            of them whole or not at all; None writes nothing.
        model_name: what `results.json` calls the model.
        progress: show a bar on standard error.

    Returns:
        The content of `results.json`: `corpora` (for each the figures of `emotion_metrics`, `dropped` rows outside the
        label set and their `dropped_emotions`, `errors` unreadable clips and which they are in `error_clips`, `chance`
        the UA of guessing), `labels`, `model`, `prompt`, `versions` and the settings. With several corpora `pooled`
        holds the figures over all their clips, with several languages `languages` those of each.

    Raises:
        EvaluationError: no corpus, or a corpus of which no clip is left to score.
    """
    chosen = as_label_set(label_set)
    kept = {name: within_label_set(name, rows, chosen) for name, rows in corpora.items()}
    if not kept:
        raise EvaluationError("No corpus to evaluate on; give at least one as NAME=PATH.")
    results: dict[str, Any] = {
        "corpora": {},
        "labels": list(chosen.words),
        "model": model_name if model_name is not None else str(getattr(model, "name_or_path", "")),
        "prompt": processor.prompt_version,
        "versions": versions(),
        "prompt_text": processor.prompt,
        "pad_to": processor.pad_to,
        "label_set": chosen.name,
        "merges": dict(chosen.merges),
        "decode": decode,
        "length_normalize": length_normalize,
        "prior_correction": prior_correction,
    }
    pooled = _Answers()
    settings: dict[str, Any] = {
        "decode": decode,
        "length_normalize": length_normalize,
        "prior_correction": prior_correction,
    }
    with ExitStack() as stack:
        table = None
        if output_dir is not None:
            Path(output_dir).mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(whole_file(Path(output_dir) / "predictions.csv"))
            table = _PredictionTable(file, chosen, decode)
        clips = sum(map(len, kept.values()))
        bar = stack.enter_context(tqdm(total=clips, unit="clip", disable=not progress, dynamic_ncols=True))
        for name, rows in kept.items():
            bar.set_description(name)
            sources = (row["audio"] for row, _ in rows)
            recognised = recognise(model, processor, sources, chosen.words, batch_size=batch_size, **settings)
            answers = _Answers()
            for (row, truth), answer in zip(rows, recognised, strict=True):
                answers.add(row, truth, answer)
                if table is not None:
                    table.write(name, row, truth, answer)
                bar.update()
            if not answers.truths:
                first = answers.errors[0]["error"]
                raise EvaluationError(f"{name}: none of its {len(rows)} clips could be read; the first: {first}")
            dropped = Counter(str(row["emotion"]) for row in corpora[name] if chosen.map(row["emotion"]) is None)
            results["corpora"][name] = {
                **answers.figures(chosen),
                "dropped": sum(dropped.values()),
                "dropped_emotions": dict(sorted(dropped.items())),
                "errors": len(answers.errors),
                "error_clips": answers.errors,
                "languages": answers.spoken(),
            }
            pooled.extend(answers)
    if len(kept) > 1:
        results["pooled"] = pooled.figures(chosen)
    if len(pooled.spoken()) > 1:
        results["languages"] = {language: pooled.figures(chosen, language) for language in pooled.spoken()}
    if output_dir is not None:
        write_results(results, output_dir)
    return results


def write_results(results: Mapping[str, Any], output_dir: str | PathLike) -> None:
    """Writes `results.json` and, for each corpus, `confusion_NAME.png`."""
    from evaluation_mser.plots import confusion_figure, write_png

    for name, file_name in confusion_files(results["corpora"]).items():
        corpus = results["corpora"][name]
        apart = corpus["confusion_unparsed"]
        figure = confusion_figure(
            corpus["confusion"], results["labels"], apart if any(apart) else None, title=f"{name}, n = {corpus['n']}"
        )
        write_png(figure, Path(output_dir) / file_name)
    with whole_file(Path(output_dir) / "results.json") as file:
        json.dump(results, file, indent=2, ensure_ascii=False)
        file.write("\n")


def confusion_files(names: Iterator[str] | Sequence[str] | Mapping[str, Any]) -> dict[str, str]:
    """The picture's file name for each corpus: what no file system minds, and never the same for two."""
    files: dict[str, str] = {}
    for name in names:
        stem = base = "confusion_" + re.sub(r"[^\w.-]+", "_", name)
        count = 1
        while f"{stem}.png" in files.values():
            count += 1
            stem = f"{base}_{count}"
        files[name] = f"{stem}.png"
    return files


def versions(*more: str) -> dict[str, str]:
    """What a figure depends on beside the model: the versions of this project, Python and the libraries.

    Args:
        *more: further distributions that the figure depends on.
    """
    found = {"python": platform.python_version()}
    for distribution in ("mser-llm", "torch", "transformers", "datasets", "numpy", "soundfile", "soxr", *more):
        try:
            found[distribution] = version(distribution)
        except PackageNotFoundError:
            found[distribution] = "not installed"
    return found


def within_label_set(name: str, rows: Sequence[Row], labels: LabelSet) -> list[tuple[Row, str]]:
    """The rows whose emotion the set holds, each with the word that it counts as.

    Raises:
        EvaluationError: there is none.
    """
    kept = [(row, word) for row in rows if (word := labels.map(row["emotion"])) is not None]
    if not kept:
        seen = ", ".join(sorted({str(row["emotion"]) for row in rows})) or "none, for it has no clips"
        raise EvaluationError(
            f"{name}: no clip has an emotion of the label set {', '.join(labels.words)}; its emotions are {seen}; "
            "choose other labels or another corpus"
        )
    return kept


@dataclass
class _Answers:
    """The answered clips of one corpus or of several, and apart from them those that could not be read."""

    truths: list[str] = field(default_factory=list)
    predictions: list[str | None] = field(default_factory=list)
    languages: list[str | None] = field(default_factory=list)
    errors: list[dict[str, str]] = field(default_factory=list)

    def add(self, row: Row, truth: str, answer: Recognition) -> None:
        if answer.error is not None:
            self.errors.append({"id": row["id"], "file": _file(row), "error": answer.error})
            return
        self.truths.append(truth)
        self.predictions.append(answer.label)
        self.languages.append(row.get("language"))

    def extend(self, other: "_Answers") -> None:
        self.truths += other.truths
        self.predictions += other.predictions
        self.languages += other.languages

    def spoken(self) -> list[str]:
        return sorted({language for language in self.languages if language})

    def figures(self, labels: LabelSet, language: str | None = None) -> dict[str, Any]:
        """The figures of all clips, or of those in one language."""
        chosen = [language in (None, spoken) for spoken in self.languages]
        figures = emotion_metrics(
            list(compress(self.truths, chosen)), list(compress(self.predictions, chosen)), labels.words
        )
        return {**figures, "chance": 1 / figures["supported_labels"]}


def _file(row: Row) -> str:
    audio = row["audio"]
    path = audio.get("path") if isinstance(audio, Mapping) else audio
    return str(path) if isinstance(path, (str, PathLike)) else ""


class _PredictionTable:
    """`predictions.csv`: one line a clip, the probability of each word (`p_WORD`) or the text that was generated."""

    def __init__(self, file: IO[str], labels: LabelSet, decode: str):
        self.words = labels.words if decode == "score" else ()
        answer = [f"p_{word}" for word in self.words] or ["text"]
        columns = ["corpus", "id", "file", "speaker", "language", "emotion", "prediction", *answer, "error"]
        self.writer = csv.DictWriter(file, columns)
        self.writer.writeheader()

    def write(self, corpus: str, row: Row, truth: str, answer: Recognition) -> None:
        line = {"corpus": corpus, "id": row["id"], "file": _file(row), "emotion": truth, "prediction": answer.label}
        line |= {"speaker": row.get("speaker"), "language": row.get("language"), "error": answer.error}
        if self.words:
            line |= {f"p_{word}": f"{answer.scores[word]:.6f}" for word in self.words if answer.scores is not None}
        else:
            line |= {"text": answer.text}
        self.writer.writerow(line)
