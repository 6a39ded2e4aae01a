# SPDX-License-Identifier: Apache-2.0
"""Evaluate a model under every condition and level, resumably, and compare with unchanged clips."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from mser_llm.evaluation.labeled_clips import LabeledClips
from mser_llm.evaluation.metrics.emotion_metrics import METRICS
from mser_llm.evaluation.predictions import (
    Predictions,
    PredictionsError,
    list_clips,
    read_predictions,
    write_predictions,
)
from mser_llm.evaluation.robustness.conditions import Condition
from mser_llm.evaluation.robustness.perturbation import ClipPerturber
from mser_llm.evaluation.statistics.bootstrap import RESAMPLES, intervals, paired_difference
from mser_llm.evaluation.statistics.significance import add_holm
from mser_llm.inference.recognition import Recognition, recognize
from mser_llm.inference.scoring_options import ScoringOptions
from mser_llm.io.atomic_files import write_json
from mser_llm.io.errors import InputError


class RobustnessError(InputError):
    """A run cannot be started or resumed."""


@dataclass(frozen=True)
class ConditionPredictions:
    """Predictions of unchanged clips (`clean`) and by condition and level (`perturbed`)."""

    clean: Predictions
    perturbed: dict[str, dict[float, Predictions]]


def sample_clips(clips: LabeledClips, size: int, seed: int) -> LabeledClips:
    """Sample at most `size` clips of each corpus, balanced by emotion; 0 takes all.

    A smaller sample is a subset of a larger one with the same seed.
    """
    if not size:
        return clips
    order = np.random.default_rng(seed).permutation(len(clips)).tolist()
    turns: dict[tuple[str, str], int] = {}
    ranked = []
    for index in order:
        cell = (clips.corpora[index], clips.truths[index])
        ranked.append((turns.setdefault(cell, 0), index))
        turns[cell] += 1
    ranked.sort(key=lambda item: item[0])  # stable: the n-th clip of each emotion before the next of any
    taken: list[int] = []
    for corpus in dict.fromkeys(clips.corpora):
        taken += [index for _, index in ranked if clips.corpora[index] == corpus][:size]
    return clips.subset(sorted(taken))


def predict_all(
    load: Callable[[], tuple[Any, Any]],
    clips: LabeledClips,
    perturber: ClipPerturber,
    conditions: Sequence[Condition],
    labels: Sequence[str],
    output_dir: str | PathLike,
    settings: Mapping[str, Any],
    options: ScoringOptions = ScoringOptions(),
    *,
    progress: bool = True,
) -> ConditionPredictions:
    """Predict every clip under every condition and write one file per level.

    An interrupted run resumes with the first missing level; a complete run loads nothing. A file that lacks a clip or
    has additional ones is written again.

    Args:
        load: returns the model and its processor; called at most once.
        labels: the candidate labels.
        output_dir: receives `predictions/` and `settings.json`.
        settings: JSON-ready; everything that affects a prediction. Runs with other settings are not resumed.
        options: as in `recognize`.

    Raises:
        MissingPartnerError: a condition needs other clips that are not available.
        RobustnessError: the directory has a run with other settings, or unreadable settings.
    """
    for condition in conditions:
        perturber.check(clips, condition)
    folder = Path(output_dir) / "predictions"
    folder.mkdir(parents=True, exist_ok=True)
    _keep_settings(Path(output_dir) / "settings.json", folder, settings)
    loaded: list[tuple[Any, Any]] = []

    def predict(name: str, sources: Any) -> Predictions:
        path = folder / f"{name}.csv"
        kept = _kept(path, clips, labels)
        if kept is not None:
            return kept
        if not loaded:
            loaded.append(load())
        model, processor = loaded[0]
        recognitions = list(recognize(model, processor, sources, labels, options))
        _write(path, clips, labels, recognitions)
        return read_predictions(path, labels)

    clean = predict("clean", (row["audio"] for row in clips.rows))
    perturbed: dict[str, dict[float, Predictions]] = {condition.name: {} for condition in conditions}
    runs = [(condition, level) for condition in conditions for level in condition.levels]
    bar = tqdm(runs, unit="level", disable=not progress, dynamic_ncols=True)
    for condition, level in bar:
        bar.set_description(f"{condition.name} {level:g}")
        sources = perturber.sources(clips, condition, level)
        perturbed[condition.name][level] = predict(f"{condition.name}_{level:g}", sources)
    return ConditionPredictions(clean, perturbed)


def robustness_metrics(
    predictions: ConditionPredictions,
    conditions: Sequence[Condition],
    seconds: Mapping[tuple[str, str], float],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """Compute metrics of each corpus under each condition and their difference to unchanged clips.

    Args:
        predictions: from `predict_all` with these conditions.
        seconds: known durations by corpus and id.
        resamples, seed: of the bootstrap over speakers.

    Returns:
        JSON-ready: `clean` by corpus, and `conditions` with the `title`, `axis`, `clean` level and `levels` of each;
        a level has `level` and `corpora`. Each corpus has `METRICS`, `n`, `recall` and `intervals` (None for fewer
        than two speakers). Under a condition it also has `against_clean`, the difference in UA to the same unchanged
        clips as in `paired_difference`, with `p_holm` corrected over all conditions, levels and corpora;
        `unanswered`, the number of clips readable only when unchanged; and `touched`, the number of changed clips.
    """
    settings: dict[str, Any] = {"resamples": resamples, "seed": seed}
    names = list(dict.fromkeys(predictions.clean.corpora))
    clean = {name: predictions.clean.of_corpus(name) for name in names}
    results: dict[str, Any] = {"clean": {name: _metrics(of, settings) for name, of in clean.items()}, "conditions": {}}
    differences = []
    for condition in conditions:
        levels = []
        for level, level_predictions in predictions.perturbed[condition.name].items():
            corpora: dict[str, Any] = {}
            for name in names:
                own = level_predictions.of_corpus(name)
                differences.append(paired_difference(own, clean[name], "UA", **settings))
                lengths = [seconds.get((name, clip), np.inf) for clip in own.ids]
                changed = [condition.changes is None or condition.changes(length, level) for length in lengths]
                corpora[name] = {**_metrics(own, settings), "against_clean": differences[-1], "touched": sum(changed)}
                corpora[name]["unanswered"] = len(set(clean[name].ids) - set(own.ids))
            levels.append({"level": level, "corpora": corpora})
        facts = {"title": condition.title, "axis": condition.axis, "clean": condition.clean, "levels": levels}
        results["conditions"][condition.name] = facts
    add_holm(differences)
    return results


def _metrics(predictions: Predictions, settings: Mapping[str, Any]) -> dict[str, Any]:
    metrics = predictions.metrics()
    chosen = {name: metrics[name] for name in (*METRICS, "n", "supported_labels", "recall")}
    return {**chosen, "intervals": intervals(predictions, **settings)}


def _kept(path: Path, clips: LabeledClips, labels: Sequence[str]) -> Predictions | None:
    """Read predictions from a file; return None unless it has exactly these clips."""
    try:
        listed, predictions = list_clips(path), read_predictions(path, labels)
    except PredictionsError:
        return None
    asked = zip(clips.corpora, (row["id"] for row in clips.rows))
    return predictions if predictions.scores is not None and Counter(listed) == Counter(asked) else None


def _write(path: Path, clips: LabeledClips, labels: Sequence[str], recognitions: Sequence[Recognition]) -> None:
    """Write the predictions of readable clips and the errors of the others."""
    readable = [index for index, answer in enumerate(recognitions) if answer.error is None]
    if not readable:
        raise RobustnessError(path.stem, f"no clip is readable (first: {recognitions[0].error})")
    scores = [[recognitions[index].scores[word] for word in labels] for index in readable]  # type: ignore[index]
    predicted = [str(recognitions[index].label) for index in readable]
    unread = [
        {"corpus": corpus, "id": row["id"], "emotion": truth, "error": answer.error}
        for corpus, row, truth, answer in zip(clips.corpora, clips.rows, clips.truths, recognitions)
        if answer.error is not None
    ]
    write_predictions(path, clips.subset(readable).to_predictions(labels, predicted, np.array(scores)), unread)


def _keep_settings(path: Path, predictions: Path, settings: Mapping[str, Any]) -> None:
    """Write the settings, or check that existing ones are equal; reject predictions without settings."""

    def damaged(problem: object) -> RobustnessError:
        return RobustnessError(path, f"is damaged ({problem})", f"pass another --output_dir or delete {path.parent}")

    if not path.exists():
        if any(predictions.glob("*.csv")):
            raise damaged("missing, but predictions exist")
        write_json(path, settings)
        return
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise damaged(error) from None
    if not isinstance(there, dict):
        raise damaged("not a JSON object")
    wanted = json.loads(json.dumps(settings))
    changed = [name for name in {**there, **wanted} if there.get(name) != wanted.get(name)]
    if changed:
        problem = f"contains a run with other settings ({', '.join(changed)})"
        raise RobustnessError(path.parent, problem, "pass another --output_dir or delete it")
