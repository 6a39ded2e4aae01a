# SPDX-License-Identifier: Apache-2.0
"""Count a built corpus without reading its audio: emotions, languages, hours, speakers (Fig. 1).

Memory grows with the number of speakers and of distinct reject reasons, not with the rows.
"""

import re
from collections import Counter, defaultdict
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from mser_llm.m5ser.analysis.built_corpus import BuiltCorpus
from processing_mser.emotions_mser import label_set


UNLABELLED = "no emotion"
# Width of the histogram of durations.
_BIN_SECONDS = 0.25
_MAX_SECONDS = 30.0


def overview(corpus: BuiltCorpus, progress: bool = True) -> dict[str, Any]:
    """Count the rows of a built corpus.

    Returns:
        JSON values: `rows`, `hours`, `rows_without_duration`; `source_language`, which may be missing in the
        languages; `languages`, `emotions`, `source_corpora` in display order; `cells`: `clips` and `hours` for each
        corpus, language and emotion; `speakers` and `durations`, see `_speakers` and `_durations`; `rejects`: `total`
        and `reasons`, each with `stage`, `reason`, `clips` and `languages`.
    """
    clips: Counter[tuple[str, str, str]] = Counter()
    seconds: defaultdict[tuple[str, str, str], float] = defaultdict(float)
    by_speaker: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    genders: dict[tuple[str, str], str] = {}
    bins: defaultdict[str, Counter[int]] = defaultdict(Counter)
    unknown_speaker = unknown_duration = 0
    for row in tqdm(corpus.rows(), "rows", corpus.num_rows, unit="row", disable=not progress, dynamic_ncols=True):
        cell = (row["source_corpus"], row["language"], row["emotion"] or UNLABELLED)
        clips[cell] += 1
        if row["duration"] is None:
            unknown_duration += 1
        else:
            seconds[cell] += row["duration"]
            bins[row["language"]][int(min(row["duration"], _MAX_SECONDS) / _BIN_SECONDS)] += 1
        if row["speaker"] is None:
            unknown_speaker += 1
        else:
            speaker = (row["source_corpus"], row["speaker"])
            by_speaker[speaker][row["language"]] += 1
            genders[speaker] = row["gender"] or "unknown"
    corpora, languages, emotions = ({cell[part] for cell in clips} for part in range(3))
    # The source language and the paper's seven emotions first, then others alphabetically.
    ordered = sorted(languages, key=lambda code: (code != corpus.source_language, code))
    seven = label_set("seven").words
    ordered_emotions = [word for word in seven if word in emotions] + sorted(emotions - set(seven))
    order = {word: place for place, word in enumerate([*ordered, *ordered_emotions])}
    return {
        "rows": sum(clips.values()),
        "hours": sum(seconds.values()) / 3600,
        "rows_without_duration": unknown_duration,
        "source_language": corpus.source_language,
        "languages": ordered,
        "emotions": ordered_emotions,
        "source_corpora": sorted(corpora),
        "cells": [
            {"source_corpus": cell[0], "language": cell[1], "emotion": cell[2], "clips": clips[cell]}
            | {"hours": seconds[cell] / 3600}
            for cell in sorted(clips, key=lambda cell: (cell[0], order[cell[1]], order[cell[2]]))
        ],
        "speakers": _speakers(by_speaker, genders) | {"rows_without_speaker": unknown_speaker},
        "durations": {language: _durations(bins[language]) for language in ordered},
        "rejects": _rejects(corpus, progress),
    }


def _speakers(by_speaker: dict[tuple[str, str], Counter[str]], genders: dict[tuple[str, str], str]) -> dict[str, Any]:
    """Return by source corpus: `speakers`, `genders` (of speakers), `clips_per_speaker` (maximum over languages)."""
    found: dict[str, Any] = {}
    for name in sorted({name for name, _ in by_speaker}):
        own = [speaker for speaker in by_speaker if speaker[0] == name]
        counts = [max(by_speaker[speaker].values()) for speaker in own]
        found[name] = {
            "speakers": len(own),
            "genders": dict(sorted(Counter(genders[speaker] for speaker in own).items())),
            "clips_per_speaker": {
                "least": min(counts),
                "median": float(np.median(counts)),
                "most": max(counts),
                "histogram": [[clips, speakers] for clips, speakers in sorted(Counter(counts).items())],
            },
        }
    return {"source_corpora": found}


def _durations(bins: Counter[int]) -> dict[str, Any]:
    """Return `histogram`: [start in seconds, clips] of each nonempty bin, and `median`: the middle of its bin."""
    if not bins:
        return {"median": None, "bin_seconds": _BIN_SECONDS, "histogram": []}
    starts = sorted(bins)
    reached = np.cumsum([bins[start] for start in starts])
    middle = starts[int(np.searchsorted(reached, reached[-1] / 2))]
    return {
        "median": (middle + 0.5) * _BIN_SECONDS,
        "bin_seconds": _BIN_SECONDS,
        "histogram": [[start * _BIN_SECONDS, bins[start]] for start in starts],
    }


def _rejects(corpus: BuiltCorpus, progress: bool) -> dict[str, Any]:
    clips: Counter[tuple[str, str]] = Counter()
    languages: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for row in tqdm(corpus.rejects(), "rejects", unit="row", disable=not progress, dynamic_ncols=True):
        # Group reasons that differ only in the clip's value.
        reason = re.sub(r"\d+(\.\d+)?", "…", row["reason"] or "no reason given")
        clips[row["stage"], reason] += 1
        languages[row["stage"], reason][row["language"]] += 1
    return {
        "total": sum(clips.values()),
        "reasons": [
            {
                "stage": stage,
                "reason": reason,
                "clips": count,
                "languages": dict(sorted(languages[stage, reason].items())),
            }
            for (stage, reason), count in clips.most_common()
        ],
    }
