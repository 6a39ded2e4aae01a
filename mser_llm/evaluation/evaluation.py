# SPDX-License-Identifier: Apache-2.0
"""Evaluate a model on labeled corpora and write metrics, predictions and confusion matrices."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from modeling_mser.labels_mser import check_labels
from mser_llm.data.loaded_corpus import UNLABELED
from mser_llm.evaluation.labeled_clips import EvaluationError, LabeledClips
from mser_llm.evaluation.predictions import Predictions, PredictionTable, clip_columns
from mser_llm.evaluation.statistics.groups import gaps, summary
from mser_llm.inference.deferred_model import DeferredModel, versions
from mser_llm.inference.prediction_cache import PredictionCache
from mser_llm.inference.recognition import Recognition, recognize
from mser_llm.inference.scoring_options import ScoringOptions
from mser_llm.io.atomic_files import atomic_open, write_json
from mser_llm.io.errors import InputError
from processing_mser.emotions_mser import LabelSet
from processing_mser.emotions_mser import label_set as as_label_set
from processing_mser.processing_mser import PROMPTS


Row = Mapping[str, Any]
PROMPT_METRICS = ("UA", "WA", "WF1", "macro_F1", "precision", "unparsed")


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
    """Evaluate a model on each of several corpora.

    Args:
        model, processor: `MSERForEmotionGeneration`, or a `DeferredModel` of it, and its `MSERProcessor`.
        corpora: the name of each corpus and its rows, as `read_corpus(...).rows`.
        label_set: a name, labels, or the set; rows whose emotion is outside it are dropped and counted.
        options: as in `recognize`; `unlearned_labels` of the results names labels that the model never learned.
        output_dir: directory for `results.json`, `predictions.csv` and one `confusion_NAME.png` per corpus, each an
            atomic file; None writes nothing.
        model_name: the model's name in `results.json`.
        prompts: versions of the prompt template to evaluate in addition to the processor's own.
        cache: cache of predictions; it needs a `DeferredModel`.
        marks: further keys of the results, such as `leak`, written from the start.

    Returns:
        The contents of `results.json`: `corpora` (for each its `summary`, `dropped` rows outside the label set by
        `dropped_emotions`, `errors` unreadable clips listed in `error_clips`), `gaps` between groups, the most
        important first, `labels`, `model`, `prompt`, `versions` and the settings. Several corpora add `pooled`, the
        `summary` of all clips; several languages add `languages`, the `summary` of each. `prompts` adds `prompts`, by
        version the metrics of all clips and, in `corpora`, of each corpus; and `prompt_spread`, the maximum minus the
        minimum.

    Raises:
        EvaluationError: no corpus is given, or a corpus has no clip to score.
        UnlearnedLabelError: the model never learned one of the labels, and that is not allowed.
        InputError: a cache is given for a model that is not a `DeferredModel`, a prompt is unknown, or prompts are
            given for a classifier.
    """
    chosen = as_label_set(label_set)
    kept = {name: LabeledClips.from_rows(name, rows, chosen) for name, rows in corpora.items()}
    if not kept:
        raise EvaluationError("corpora", "there is no corpus to evaluate on", "pass at least one as NAME=PATH")
    unknown = sorted(set(prompts) - set(PROMPTS))
    if unknown:
        raise InputError("prompts", f"unknown: {', '.join(unknown)}", f"choose from {', '.join(PROMPTS)}")
    if prompts and processor.prompt_version is None:
        raise InputError("prompts", "the model is a classifier and takes no prompt", "leave the prompts out")
    if cache is not None and not isinstance(model, DeferredModel):
        raise InputError("cache", "needs the digests of the model's files", "pass the model as DeferredModel(path)")
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
    predictor = _Predictor(model, processor, chosen, options, cache, progress)
    others = [version for version in dict.fromkeys(prompts) if version != processor.prompt_version]
    predicted: dict[str, Predictions] = {}
    with ExitStack() as stack:
        table = None
        if output_dir is not None:
            Path(output_dir).mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(atomic_open(Path(output_dir) / "predictions.csv"))
            table = PredictionTable(file, chosen.words, text=options.decode == "generate")
        total = sum(map(len, kept.values())) * (1 + len(others))
        predictor.bar = stack.enter_context(tqdm(total=total, unit="clip", disable=not progress, dynamic_ncols=True))
        for name, clips in kept.items():
            predicted[name], errors, narrow_band = predictor.predictions(clips, table)
            outside = [row["emotion"] for row in corpora[name] if chosen.map(row["emotion"]) is None]
            dropped = Counter(emotion or UNLABELED for emotion in outside)
            results["corpora"][name] = {
                **summary(predicted[name]),
                "dropped": sum(dropped.values()),
                "dropped_emotions": dict(sorted(dropped.items())),
                "errors": len(errors),
                "error_clips": errors,
                "narrow_band": narrow_band,
                "languages": _languages(predicted[name]),
            }
        pooled = Predictions.concatenate(list(predicted.values()))
        if len(kept) > 1:
            results["pooled"] = summary(pooled)
        if len(languages := _languages(pooled)) > 1:
            results["languages"] = {
                code: summary(pooled.subset([one == code for one in pooled.languages])) for code in languages
            }
        results["gaps"] = gaps(results)
        if prompts:
            results |= _over_prompts(predictor, kept, predicted, others)
    if output_dir is not None:
        write_results(results, output_dir)
    return results


def write_results(results: Mapping[str, Any], output_dir: str | PathLike) -> None:
    """Write `results.json` and one `confusion_NAME.png` per corpus."""
    from mser_llm.evaluation.plots import confusion_figure, write_png

    stems = file_stems(results["corpora"])
    for name, corpus in results["corpora"].items():
        unparsed = corpus["confusion_unparsed"]
        figure = confusion_figure(
            corpus["confusion"],
            results["labels"],
            unparsed if any(unparsed) else None,
            title=f"{name}, n = {corpus['n']}",
        )
        write_png(figure, Path(output_dir) / f"confusion_{stems[name]}.png")
    write_json(Path(output_dir) / "results.json", results)


def file_stems(names: Iterable[str]) -> dict[str, str]:
    """Return a unique and portable file name stem for each name."""
    stems: dict[str, str] = {}
    for name in names:
        stem = base = re.sub(r"[^\w.-]+", "_", name)
        count = 1
        while stem in stems.values():
            count += 1
            stem = f"{base}_{count}"
        stems[name] = stem
    return stems


@dataclass
class _Predictor:
    """A model with the settings shared by all corpora, and the progress bar."""

    model: Any
    processor: Any
    labels: LabelSet
    options: ScoringOptions
    cache: PredictionCache | None
    progress: bool
    bar: Any = None

    def predictions(
        self, labeled: LabeledClips, table: PredictionTable | None = None, prompt: str | None = None
    ) -> tuple[Predictions, list[dict[str, str]], int]:
        """Predict the clips of one corpus; `table` receives a line for each.

        Returns:
            the predictions of readable clips, the errors of the others, and the number of clips without sound above
            4 kHz.
        """
        name, words = labeled.corpora[0], self.labels.words
        self.bar.set_description(name)
        clips: list[dict[str, Any]] = []
        scores: list[list[float]] = []
        errors: list[dict[str, str]] = []
        narrow_band = 0
        results = self._recognize([row["audio"] for row in labeled.rows], prompt)
        for row, truth, result in zip(labeled.rows, labeled.truths, results, strict=True):
            clip = clip_columns(name, row, truth, result.label)
            probabilities = None if result.scores is None else [result.scores[word] for word in words]
            if table is not None:
                text = {} if result.text is None else {"text": result.text}
                table.write({**clip, **text, "error": result.error}, probabilities)
            if result.error is not None:
                errors.append({"id": row["id"], "file": clip["file"] or "", "error": result.error})
            else:
                clips.append(clip)
                narrow_band += result.bandwidth_hz is not None
                if probabilities is not None:
                    scores.append(probabilities)
            self.bar.update()
        if not clips:
            problem = f"none of its {len(labeled)} clips could be read (first: {errors[0]['error']})"
            raise EvaluationError(name, problem)
        return Predictions.from_clips(words, clips, scores or None), errors, narrow_band

    def _recognize(self, sources: Sequence[Any], prompt: str | None) -> Iterator[Recognition]:
        processor = self.processor if prompt is None else self.processor.with_prompt(prompt)
        arguments = (processor, sources, self.labels.words, self.options)
        if self.cache is not None:
            return self.cache.recognize(self.model, *arguments, progress=self.progress)
        model = self.model.load() if isinstance(self.model, DeferredModel) else self.model
        return recognize(model, *arguments)


def _over_prompts(
    predictor: _Predictor,
    kept: Mapping[str, LabeledClips],
    predicted: Mapping[str, Predictions],
    others: Sequence[str],
) -> dict[str, Any]:
    """Evaluate further prompts and return `prompts` and `prompt_spread` of the results."""
    by_prompt = {predictor.processor.prompt_version: dict(predicted)}
    for version in others:
        by_prompt[version] = {name: predictor.predictions(clips, prompt=version)[0] for name, clips in kept.items()}
    pooled = {
        version: _prompt_metrics(Predictions.concatenate(list(parts.values()))) for version, parts in by_prompt.items()
    }
    return {
        "prompts": {
            version: {**pooled[version], "corpora": {name: _prompt_metrics(part) for name, part in parts.items()}}
            for version, parts in by_prompt.items()
        },
        "prompt_spread": {name: float(np.ptp([one[name] for one in pooled.values()])) for name in PROMPT_METRICS},
    }


def _prompt_metrics(predictions: Predictions) -> dict[str, float]:
    metrics = predictions.metrics()
    return {name: metrics[name] for name in PROMPT_METRICS}


def _languages(predictions: Predictions) -> list[str]:
    return sorted({language for language in predictions.languages if language is not None})
