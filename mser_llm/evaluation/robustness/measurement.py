# SPDX-License-Identifier: Apache-2.0
"""A model under every condition and level: its answers, kept as they come, and figures beside those of clean clips."""

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


class RobustnessError(ValueError):
    """A run that cannot be begun, or not be gone on with."""


@dataclass(frozen=True)
class ConditionPredictions:
    """Predictions under each condition and level, and on the clips as they are."""

    clean: Predictions
    disturbed: dict[str, dict[float, Predictions]]


def sample_clips(clips: LabeledClips, size: int, seed: int) -> LabeledClips:
    """At most so many clips of each corpus, of each emotion alike as far as there are any; 0 takes all.

    The clips of a smaller sample are among those of a larger one.
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
    ranked.sort(key=lambda item: item[0])  # stable: the n-th clips of all emotions before any emotion's next
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
    """The model's answers to every clip under every condition, each level's kept in a file of its own when it is done.

    Called again after a kill it goes on with the first level that is not there; when all are, nothing is loaded. A
    file that lacks a clip, or has another, is not taken for a level's answers.

    Args:
        load: gives the model and its processor; called at most once.
        clips: what is asked about.
        perturber: of them.
        conditions: of them.
        labels: the candidate words.
        output_dir: `predictions/` in it holds the answers, `settings.json` what they are answers to.
        settings: JSON-ready, whatever decides an answer; answers of other settings are not gone on with.
        options: as in `recognize`.
        progress: show a bar.

    Raises:
        MissingPartnerError: a condition needs other clips than there are.
        RobustnessError: the folder holds answers of other settings, or settings that cannot be read.
    """
    for condition in conditions:
        perturber.check(clips, condition)
    folder = Path(output_dir) / "predictions"
    folder.mkdir(parents=True, exist_ok=True)
    _keep_settings(Path(output_dir) / "settings.json", folder, settings)
    loaded: list[tuple[Any, Any]] = []

    def answers(name: str, sources: Any) -> Predictions:
        path = folder / f"{name}.csv"
        kept = _kept(path, clips, labels)
        if kept is not None:
            return kept
        if not loaded:
            loaded.append(load())
        model, processor = loaded[0]
        recognised = list(recognize(model, processor, sources, labels, options))
        _write(path, clips, labels, recognised)
        return read_predictions(path, labels)

    clean = answers("clean", (row["audio"] for row in clips.rows))
    disturbed: dict[str, dict[float, Predictions]] = {condition.name: {} for condition in conditions}
    runs = [(condition, level) for condition in conditions for level in condition.levels]
    bar = tqdm(runs, unit="level", disable=not progress, dynamic_ncols=True)
    for condition, level in bar:
        bar.set_description(f"{condition.name} {level:g}")
        sources = perturber.sources(clips, condition, level)
        disturbed[condition.name][level] = answers(f"{condition.name}_{level:g}", sources)
    return ConditionPredictions(clean, disturbed)


def robustness_metrics(
    answers: ConditionPredictions,
    conditions: Sequence[Condition],
    seconds: Mapping[tuple[str, str], float],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """Figures of each corpus under each condition, beside those on the clips as they are.

    Args:
        answers: of `predict_all`.
        conditions: those of the answers.
        seconds: the length of each clip by corpus and id, as far as it is known.
        resamples, seed: of the bootstrap over speakers.

    Returns:
        JSON-ready: `clean` by corpus, and `conditions`: of each its `title`, `axis`, `clean` level and `levels`, each
        with `level` and `corpora`. Of each corpus the figures of `METRICS`, `n`, `recall`, `intervals` (None for fewer
        than two speakers), and under a condition `against_clean`: the UA less that on the same clips as they are, as
        in `paired_difference`, `p_holm` being corrected over all conditions, levels and corpora; `unanswered`, clips
        that were answered as they are and not here, and `touched`, how many the condition changes at all.
    """
    settings: dict[str, Any] = {"resamples": resamples, "seed": seed}
    names = list(dict.fromkeys(answers.clean.corpora))
    clean = {name: _of_corpus(answers.clean, name) for name in names}
    results: dict[str, Any] = {"clean": {name: _figures(of, settings) for name, of in clean.items()}, "conditions": {}}
    differences = []
    for condition in conditions:
        levels = []
        for level, predictions in answers.disturbed[condition.name].items():
            corpora = {}
            for name in names:
                own = _of_corpus(predictions, name)
                against = paired_difference(*own.align(clean[name]), "UA", **settings)
                differences.append(against)
                touched = len(own)
                if condition.changes is not None:
                    lengths = (seconds.get((name, clip), np.inf) for clip in own.ids)
                    touched = sum(condition.changes(length, level) for length in lengths)
                figures = {**_figures(own, settings), "against_clean": against, "touched": touched}
                corpora[name] = {**figures, "unanswered": len(set(clean[name].ids) - set(own.ids))}
            levels.append({"level": level, "corpora": corpora})
        facts = {"title": condition.title, "axis": condition.axis, "clean": condition.clean, "levels": levels}
        results["conditions"][condition.name] = facts
    add_holm(differences)
    return results


def _of_corpus(predictions: Predictions, name: str) -> Predictions:
    return predictions.subset(np.array([corpus == name for corpus in predictions.corpora]))


def _figures(predictions: Predictions, settings: Mapping[str, Any]) -> dict[str, Any]:
    figures, bounds = predictions.metrics(), intervals(predictions, **settings)
    made = {name: figures[name] for name in (*METRICS, "n", "supported_labels", "recall")}
    return {**made, "intervals": None if bounds is None else {name: list(of) for name, of in bounds.items()}}


def _kept(path: Path, clips: LabeledClips, labels: Sequence[str]) -> Predictions | None:
    """The answers in a file; None unless it has a whole line for each of these clips, and for no other."""
    try:
        listed, answers = list_clips(path), read_predictions(path, labels)
    except PredictionsError:
        return None
    asked = zip(clips.corpora, (row["id"] for row in clips.rows))
    return answers if answers.scores is not None and Counter(listed) == Counter(asked) else None


def _write(path: Path, clips: LabeledClips, labels: Sequence[str], recognised: Sequence[Recognition]) -> None:
    """The answers to clips, and a line with the error for each that could not be read."""
    readable = [index for index, answer in enumerate(recognised) if answer.error is None]
    if not readable:
        raise RobustnessError(f"{path.stem}: no clip could be answered; the first: {recognised[0].error}")
    scores = [[recognised[index].scores[word] for word in labels] for index in readable]  # type: ignore[index]
    said = [str(recognised[index].label) for index in readable]
    unread = [
        {"corpus": corpus, "id": row["id"], "emotion": truth, "error": answer.error}
        for corpus, row, truth, answer in zip(clips.corpora, clips.rows, clips.truths, recognised)
        if answer.error is not None
    ]
    write_predictions(path, clips.subset(readable).to_predictions(labels, said, np.array(scores)), unread)


def _keep_settings(path: Path, answers: Path, settings: Mapping[str, Any]) -> None:
    """Writes the settings, or refuses those that differ from what is there, and answers that are there without any."""
    if path.exists():
        try:
            there = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise RobustnessError(_damaged(path, str(error))) from None
        if not isinstance(there, dict):
            raise RobustnessError(_damaged(path, "no settings by name"))
        wanted = json.loads(json.dumps(settings))
        changed = [name for name in {**there, **wanted} if there.get(name) != wanted.get(name)]
        if changed:
            raise RobustnessError(
                f"{path.parent}: holds answers of another run (other {', '.join(changed)}); give another --output_dir "
                "or delete it"
            )
        return
    if any(answers.glob("*.csv")):
        raise RobustnessError(_damaged(path, "it is not there, and answers are"))
    write_json(path, settings)


def _damaged(path: Path, problem: str) -> str:
    # Without it nobody knows what the answers beside it are answers to.
    return f"{path}: is damaged ({problem}); give another --output_dir, or delete {path.parent}"
