# SPDX-License-Identifier: Apache-2.0
"""What an emotion classifier hears in the clips, beside the labels that they carry."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tqdm.auto import tqdm

from mser_llm.evaluation.metrics import emotion_metrics
from mser_llm.inference.recognition import recognize
from mser_llm.inference.scoring_options import ScoringOptions
from mser_llm.m5ser.analysis.built_corpus import BuiltCorpus, Row
from processing_mser.emotions_mser import LABEL_SETS


MOST_DISAGREEMENTS = 30


def judge_labels(
    corpus: BuiltCorpus,
    chosen: Callable[[Row], bool],
    model: Any,
    processor: Any,
    emotions: Sequence[str],
    *,
    batch_size: int = 16,
    progress: bool = True,
) -> dict[str, Any]:
    """Recognises the emotion of the chosen clips, in a stream.

    Args:
        corpus: the built folder.
        chosen: says which rows, as `choose_sources` does.
        model, processor: as `load_model` returns them.
        emotions: those that occur. The classifier chooses among the words that they count as for it.
        batch_size: clips per forward pass.
        progress: shows a bar.

    Returns:
        `clips`, `unreadable`, `chance`; `languages`: for each the figures of `emotion_metrics`, whose `recall` is the
        agreement of each emotion; `pooled`, the same over all; `disagreements`: the clips that the classifier gives
        another emotion with most confidence, each `id`, `label`, `heard`, `probability`.
    """
    counted = counted_for(model, emotions)
    words = list(dict.fromkeys(counted.values()))
    total = sum(chosen(row) for row in corpus.rows())
    waiting: list[Row] = []

    def sounds() -> Iterator[Any]:
        for batch in corpus.rows_with_audio(chosen):
            for row in batch:
                # The sound itself goes on to the classifier and is not kept.
                waiting.append({key: value for key, value in row.items() if key != "audio"})
                yield row["audio"]

    judged: dict[str, tuple[list[str], list[str]]] = {}
    disagreements: list[dict[str, Any]] = []
    unreadable = 0
    bar = tqdm(desc="recognised", total=total, unit="clip", disable=not progress, dynamic_ncols=True)
    for answer in recognize(model, processor, sounds(), words, ScoringOptions(batch_size=batch_size)):
        row = waiting.pop(0)
        bar.update()
        if answer.label is None or answer.scores is None:
            unreadable += 1
            continue
        truths, heard = judged.setdefault(row["language"], ([], []))
        truth = counted[row["emotion"]]
        truths.append(truth)
        heard.append(answer.label)
        if answer.label != truth:
            entry = {"id": row["id"], "label": row["emotion"], "heard": answer.label}
            disagreements.append(entry | {"probability": answer.scores[answer.label]})
            if len(disagreements) > 10 * MOST_DISAGREEMENTS:
                disagreements = _surest(disagreements)
    bar.close()
    order = [code for code in corpus.shards if code in judged]
    truths, heard = ([word for code in order for word in judged[code][side]] for side in (0, 1))
    return {
        "clips": len(truths),
        "unreadable": unreadable,
        "words": list(words),
        "chance": 1 / len(words),
        "languages": {code: emotion_metrics(*judged[code], words) for code in order},
        "pooled": emotion_metrics(truths, heard, words) if order else None,
        "disagreements": _surest(disagreements),
    }


def counted_for(model: Any, emotions: Sequence[str]) -> dict[str, str]:
    """Each emotion of a corpus and the word that it counts as for a model: itself, or where the model was not trained
    on it the word that the four-class task merges it into (excited counts as happy)."""
    known = getattr(getattr(model, "config", None), "emotion_words", None) or emotions
    merges = LABEL_SETS["four"].merges
    return {word: word if word in known or merges.get(word) not in known else merges[word] for word in emotions}


def _surest(disagreements: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(disagreements, key=lambda one: (-one["probability"], one["id"]))[:MOST_DISAGREEMENTS]
