# SPDX-License-Identifier: Apache-2.0
"""A model over labelled corpora: figures, every prediction, and the confusion matrices, written whole."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from modeling_mser.labels_mser import check_labels
from mser_llm.data.loaded_corpus import UNLABELED
from mser_llm.evaluation.predictions import Predictions, PredictionTable
from mser_llm.evaluation.summary import gaps, summary
from mser_llm.inference.deferred_model import DeferredModel
from mser_llm.inference.library_versions import versions
from mser_llm.inference.prediction_cache import PredictionCache
from mser_llm.inference.recognition import Recognition, recognize
from mser_llm.inference.scoring_options import ScoringOptions
from mser_llm.io.atomic_files import atomic_open, write_json
from processing_mser.emotions_mser import LabelSet
from processing_mser.emotions_mser import label_set as as_label_set
from processing_mser.processing_mser import PROMPTS


Row = Mapping[str, Any]
# Of other prompts only these are kept.
PROMPT_METRICS = ("UA", "WA", "WF1", "macro_F1", "precision", "unparsed")


class EvaluationError(ValueError):
    """Nothing that could be measured."""


def evaluate_corpora(
    model: Any,
    processor: Any,
    corpora: Mapping[str, Sequence[Row]],
    label_set: str | Sequence[str] | LabelSet,
    options: ScoringOptions = ScoringOptions(),
    *,
    output_dir: str | PathLike | None = None,
    model_name: str | None = None,
    progress: bool = True,
    prompts: Sequence[str] = (),
    cache: PredictionCache | None = None,
    marks: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Measures a model on corpora, each for itself.

    Args:
        model, processor: `MSERForEmotionGeneration`, or a `DeferredModel` of it, and its `MSERProcessor`.
        corpora: the name of each corpus and its rows, as `read_corpus(...).rows`.
        label_set: a name, words, or the set; a row whose emotion it does not hold is dropped and counted.
        options: as in `recognize`; `unlearned_labels` of the results names labels that the model never learned.
        output_dir: where `results.json`, `predictions.csv` and a `confusion_NAME.png` for each corpus are written, all
            of them whole or not at all; None writes nothing.
        model_name: what `results.json` calls the model.
        progress: show a bar on standard error.
        prompts: versions of the prompt template to measure beside the processor's own.
        cache: where answers are kept and found again; it takes a `DeferredModel`.
        marks: further keys of the results that are known beforehand, such as a `leak`: no file is ever without them.

    Returns:
        The content of `results.json`: `corpora` (for each what `summary` says of it, `dropped` rows outside the
        label set and their `dropped_emotions`, `errors` unreadable clips and which they are in `error_clips`),
        `gaps` between groups, those to be read first at the top, `labels`, `model`, `prompt`, `versions` and the
        settings. With several corpora `pooled` holds what `summary` says of all their clips, with several languages
        `languages` that of each. With `prompts`, those and the processor's own are in `prompts`, by version with the
        figures over all clips and, in `corpora`, over each corpus; `prompt_spread` is the largest less the smallest.

    Raises:
        EvaluationError: no corpus, or a corpus of which no clip is left to score.
        UnlearnedLabelError: the model never learned a word of the label set, and that is not allowed.
        ValueError: a cache, and a model that is no `DeferredModel`; an unknown prompt, or one for a classifier.
    """
    chosen = as_label_set(label_set)
    kept = {name: rows_in_label_set(name, rows, chosen) for name, rows in corpora.items()}
    if not kept:
        raise EvaluationError("No corpus to evaluate on; give at least one as NAME=PATH.")
    unknown = sorted(set(prompts) - set(PROMPTS))
    if unknown:
        raise ValueError(f"prompt {', '.join(map(repr, unknown))} is not known; choose from {', '.join(PROMPTS)}")
    if prompts and processor.prompt_version is None:
        raise ValueError("the model is a classifier, which is asked nothing; leave the prompts out")
    if cache is not None and not isinstance(model, DeferredModel):
        raise ValueError("a cache needs to know what a model's files hold; pass the model as DeferredModel(place)")
    unlearned = check_labels(model.config, chosen.words, options.allow_unlearned_labels)
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
        "unlearned_labels": list(unlearned),
        **options.settings,
        **(marks or {}),
    }
    answerer = _Answerer(model, processor, chosen, options, cache, progress)
    others = [version for version in dict.fromkeys(prompts) if version != processor.prompt_version]
    answered: dict[str, Predictions] = {}
    with ExitStack() as stack:
        table = None
        if output_dir is not None:
            Path(output_dir).mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(atomic_open(Path(output_dir) / "predictions.csv"))
            table = PredictionTable(file, chosen.words, text=options.decode == "generate")
        clips = sum(map(len, kept.values())) * (1 + len(others))
        answerer.bar = stack.enter_context(tqdm(total=clips, unit="clip", disable=not progress, dynamic_ncols=True))
        for name, rows in kept.items():
            answered[name], errors, narrow_band = answerer.predictions(name, rows, table)
            outside = [row["emotion"] for row in corpora[name] if chosen.map(row["emotion"]) is None]
            dropped = Counter(emotion or UNLABELED for emotion in outside)
            results["corpora"][name] = {
                **summary(answered[name]),
                "dropped": sum(dropped.values()),
                "dropped_emotions": dict(sorted(dropped.items())),
                "errors": len(errors),
                "error_clips": errors,
                "narrow_band": narrow_band,
                "languages": _spoken(answered[name]),
            }
        pooled = Predictions.concatenate(list(answered.values()))
        if len(kept) > 1:
            results["pooled"] = summary(pooled)
        if len(spoken := _spoken(pooled)) > 1:
            results["languages"] = {
                code: summary(pooled.subset([one == code for one in pooled.languages])) for code in spoken
            }
        results["gaps"] = gaps(results)
        if prompts:
            results |= _over_prompts(answerer, kept, answered, others)
    if output_dir is not None:
        write_results(results, output_dir)
    return results


def write_results(results: Mapping[str, Any], output_dir: str | PathLike) -> None:
    """Writes `results.json` and, for each corpus, `confusion_NAME.png`."""
    from mser_llm.evaluation.plots import confusion_figure, write_png

    for name, file_name in confusion_files(results["corpora"]).items():
        corpus = results["corpora"][name]
        apart = corpus["confusion_unparsed"]
        figure = confusion_figure(
            corpus["confusion"], results["labels"], apart if any(apart) else None, title=f"{name}, n = {corpus['n']}"
        )
        write_png(figure, Path(output_dir) / file_name)
    write_json(Path(output_dir) / "results.json", results)


def confusion_files(names: Iterable[str]) -> dict[str, str]:
    """The picture's file name for each corpus: what no file system minds, and never the same for two."""
    return {name: f"confusion_{stem}.png" for name, stem in file_stems(names).items()}


def file_stems(names: Iterable[str]) -> dict[str, str]:
    """For each name what no file system minds, and never the same for two."""
    stems: dict[str, str] = {}
    for name in names:
        stem = base = re.sub(r"[^\w.-]+", "_", name)
        count = 1
        while stem in stems.values():
            count += 1
            stem = f"{base}_{count}"
        stems[name] = stem
    return stems


def rows_in_label_set(name: str, rows: Sequence[Row], labels: LabelSet) -> list[tuple[Row, str]]:
    """The rows whose emotion the set holds, each with the word that it counts as.

    Raises:
        EvaluationError: there is none.
    """
    kept = [(row, word) for row in rows if (word := labels.map(row["emotion"])) is not None]
    if not kept:
        seen = ", ".join(sorted({row["emotion"] or UNLABELED for row in rows})) or "none, for it has no clips"
        raise EvaluationError(
            f"{name}: no clip has an emotion of the label set {', '.join(labels.words)}; its emotions are {seen}; "
            "choose other labels or another corpus"
        )
    return kept


class _Answerer:
    """A model that is asked for corpus after corpus, with its settings."""

    def __init__(
        self,
        model: Any,
        processor: Any,
        labels: LabelSet,
        options: ScoringOptions,
        cache: PredictionCache | None,
        progress: bool,
    ):
        self.model, self.processor, self.labels, self.cache = model, processor, labels, cache
        self.options, self.progress = options, progress
        self.bar: Any = None

    def predictions(
        self,
        name: str,
        rows: Sequence[tuple[Row, str]],
        table: PredictionTable | None = None,
        prompt: str | None = None,
    ) -> tuple[Predictions, list[dict[str, str]], int]:
        """The answers for the clips of a corpus that could be read, the errors of the others, and the number of clips
        without sound above 4 kHz.

        Args:
            name: of the corpus.
            rows: with their truths.
            table: gets a line for each clip.
            prompt: version of the prompt template; by default the processor's own.

        Raises:
            EvaluationError: no clip could be read.
        """
        self.bar.set_description(name)
        clips: list[dict[str, Any]] = []
        scores: list[list[float]] = []
        errors: list[dict[str, str]] = []
        narrow_band = 0
        words = self.labels.words
        for (row, truth), answer in zip(rows, self._answers([row["audio"] for row, _ in rows], prompt), strict=True):
            clip = {
                "corpus": name,
                "id": row["id"],
                "file": _file(row) or None,
                "emotion": truth,
                "prediction": answer.label,
                **{column: row.get(column) or None for column in ("speaker", "gender", "language")},
            }
            probabilities = None if answer.scores is None else [answer.scores[word] for word in words]
            if table is not None:
                text = {} if answer.text is None else {"text": answer.text}
                table.write({**clip, **text, "error": answer.error}, probabilities)
            if answer.error is not None:
                errors.append({"id": row["id"], "file": _file(row), "error": answer.error})
            else:
                clips.append(clip)
                narrow_band += answer.bandwidth_hz is not None
                if probabilities is not None:
                    scores.append(probabilities)
            self.bar.update()
        if not clips:
            raise EvaluationError(
                f"{name}: none of its {len(rows)} clips could be read; the first: {errors[0]['error']}"
            )
        return Predictions.from_clips(words, clips, scores or None), errors, narrow_band

    def _answers(self, sources: Sequence[Any], prompt: str | None) -> Iterator[Recognition]:
        processor = self.processor if prompt is None else self.processor.with_prompt(prompt)
        asked = (processor, sources, self.labels.words, self.options)
        if self.cache is not None:
            return self.cache.recognize(self.model, *asked, progress=self.progress)
        model = self.model.load() if isinstance(self.model, DeferredModel) else self.model
        return recognize(model, *asked)


def _over_prompts(
    answerer: _Answerer,
    kept: Mapping[str, Sequence[tuple[Row, str]]],
    answered: Mapping[str, Predictions],
    others: Sequence[str],
) -> dict[str, Any]:
    """`prompts` and `prompt_spread` of `evaluate_corpora`: what was answered, and the answers to other templates."""
    answers = {answerer.processor.prompt_version: dict(answered)}
    for version in others:
        answers[version] = {name: answerer.predictions(name, rows, prompt=version)[0] for name, rows in kept.items()}
    pooled = {
        version: _prompt_figures(Predictions.concatenate(list(parts.values()))) for version, parts in answers.items()
    }
    return {
        "prompts": {
            version: {**pooled[version], "corpora": {name: _prompt_figures(part) for name, part in parts.items()}}
            for version, parts in answers.items()
        },
        "prompt_spread": {name: float(np.ptp([one[name] for one in pooled.values()])) for name in PROMPT_METRICS},
    }


def _prompt_figures(predictions: Predictions) -> dict[str, float]:
    figures = predictions.metrics()
    return {name: figures[name] for name in PROMPT_METRICS}


def _spoken(predictions: Predictions) -> list[str]:
    return sorted({language for language in predictions.languages if language is not None})


def _file(row: Row) -> str:
    audio = row["audio"]
    path = audio.get("path") if isinstance(audio, Mapping) else audio
    return str(path) if isinstance(path, (str, PathLike)) else ""
