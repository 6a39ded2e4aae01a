# SPDX-License-Identifier: Apache-2.0
"""Compare the labels of a corpus with the predictions of an emotion classifier."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tqdm.auto import tqdm

from mser_llm.evaluation.metrics import emotion_metrics
from mser_llm.inference.recognition import recognize
from mser_llm.inference.scoring_options import ScoringOptions
from mser_llm.m5ser.analysis.built_corpus import BuiltCorpus, Row
from processing_mser.emotions_mser import LABEL_SETS


MAX_DISAGREEMENTS = 30


def check_with_classifier(
    corpus: BuiltCorpus,
    chosen: Callable[[Row], bool],
    model: Any,
    processor: Any,
    emotions: Sequence[str],
    *,
    batch_size: int = 16,
    progress: bool = True,
) -> dict[str, Any]:
    """Recognize the emotion of the rows that `chosen` selects, in a stream, among the labels from `labels_for`.

    Returns:
        `clips`, `unreadable`, `words`, `chance`; `languages`: the `emotion_metrics` of each, whose `recall` is the
        agreement per emotion; `pooled`: the same over all; `disagreements`: the most confident ones, each with `id`,
        `label`, `heard` (the prediction) and `probability`.
    """
    counted = labels_for(model, emotions)
    words = list(dict.fromkeys(counted.values()))
    total = sum(chosen(row) for row in corpus.rows())
    waiting: list[Row] = []

    def recordings() -> Iterator[Any]:
        for batch in corpus.rows_with_audio(chosen):
            for row in batch:
                # The audio is not kept.
                waiting.append({key: value for key, value in row.items() if key != "audio"})
                yield row["audio"]

    pairs: dict[str, tuple[list[str], list[str]]] = {}
    disagreements: list[dict[str, Any]] = []
    unreadable = 0
    bar = tqdm(desc="recognized", total=total, unit="clip", disable=not progress, dynamic_ncols=True)
    for prediction in recognize(model, processor, recordings(), words, ScoringOptions(batch_size=batch_size)):
        row = waiting.pop(0)
        bar.update()
        if prediction.label is None or prediction.scores is None:
            unreadable += 1
            continue
        truths, predicted = pairs.setdefault(row["language"], ([], []))
        truth = counted[row["emotion"]]
        truths.append(truth)
        predicted.append(prediction.label)
        if prediction.label != truth:
            entry = {"id": row["id"], "label": row["emotion"], "heard": prediction.label}
            disagreements.append(entry | {"probability": prediction.scores[prediction.label]})
            if len(disagreements) > 10 * MAX_DISAGREEMENTS:
                disagreements = _most_confident(disagreements)
    bar.close()
    order = [code for code in corpus.shards if code in pairs]
    truths, predicted = ([word for code in order for word in pairs[code][side]] for side in (0, 1))
    return {
        "clips": len(truths),
        "unreadable": unreadable,
        "words": words,
        "chance": 1 / len(words),
        "languages": {code: emotion_metrics(*pairs[code], words) for code in order},
        "pooled": emotion_metrics(truths, predicted, words) if order else None,
        "disagreements": _most_confident(disagreements),
    }


def labels_for(model: Any, emotions: Sequence[str]) -> dict[str, str]:
    """Map each emotion of a corpus to a label of the model: itself, or if the model was not trained on it, the label
    that the four-class task merges it into (excited counts as happy)."""
    known = getattr(getattr(model, "config", None), "emotion_words", None) or emotions
    merges = LABEL_SETS["four"].merges
    return {word: word if word in known or merges.get(word) not in known else merges[word] for word in emotions}


def _most_confident(disagreements: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(disagreements, key=lambda one: (-one["probability"], one["id"]))[:MAX_DISAGREEMENTS]
