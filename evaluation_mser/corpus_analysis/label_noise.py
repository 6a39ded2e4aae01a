# SPDX-License-Identifier: Apache-2.0
"""What an emotion classifier hears in the clips, beside the labels that they carry."""

from collections.abc import Callable, Iterator
from typing import Any

from tqdm.auto import tqdm

from evaluation_mser.corpus_analysis.built_corpus import BuiltCorpus, Row
from evaluation_mser.metrics import emotion_metrics
from evaluation_mser.recognition import recognise


MOST_DISAGREEMENTS = 30


def judge_labels(
    corpus: BuiltCorpus,
    chosen: Callable[[Row], bool],
    model: Any,
    processor: Any,
    words: list[str],
    *,
    batch_size: int = 16,
    progress: bool = True,
) -> dict[str, Any]:
    """Recognises the emotion of the chosen clips, in a stream.

    Args:
        corpus: the built folder.
        chosen: says which rows, as `choose_sources` does.
        model, processor: as `load_model` returns them.
        words: the emotions that occur, among which the classifier chooses.
        batch_size: clips per forward pass.
        progress: shows a bar.

    Returns:
        `clips`, `unreadable`, `chance`; `languages`: for each the figures of `emotion_metrics`, whose `recall` is the
        agreement of each emotion; `pooled`, the same over all; `disagreements`: the clips that the classifier gives
        another emotion with most confidence, each `id`, `label`, `heard`, `probability`.
    """
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
    for answer in recognise(model, processor, sounds(), words, batch_size=batch_size):
        row = waiting.pop(0)
        bar.update()
        if answer.label is None or answer.scores is None:
            unreadable += 1
            continue
        truths, heard = judged.setdefault(row["language"], ([], []))
        truths.append(row["emotion"])
        heard.append(answer.label)
        if answer.label != row["emotion"]:
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


def _surest(disagreements: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(disagreements, key=lambda one: (-one["probability"], one["id"]))[:MOST_DISAGREEMENTS]
