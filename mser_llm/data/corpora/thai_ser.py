# SPDX-License-Identifier: Apache-2.0
"""THAI-SER."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mser_llm.data.corpora.spec import ClipTable, CorpusSpec, Rule


_LABELS = {"Neutral": "neutral", "Angry": "angry", "Happy": "happy", "Sad": "sad", "Frustrated": "frustrated"}
_AGREEMENT = 0.71
"""The publishers' threshold."""


def _agreed(votes: Sequence[Sequence[str]]) -> str:
    """Return the emotion with enough agreement, else an empty text; a listener may choose several emotions."""
    shares = dict.fromkeys(_LABELS, 0.0)
    for words in votes:
        chosen = [word for word in words if word in _LABELS]
        for word in chosen:
            shares[word] += 1 / len(chosen) / len(votes)
    return next((word for word, share in shares.items() if share >= _AGREEMENT), "")


@dataclass(frozen=True)
class _Votes(ClipTable):
    """JSON: the name of a recording to a list of one object, whose `annotated` has the emotions of each listener."""

    def records(self, path: Path) -> Iterator[Mapping[str, str]]:
        with open(path, encoding="utf-8") as file:
            labels = json.load(file)
        for name, (label,) in labels.items():
            yield {"name": name, "agreed": _agreed(label["annotated"])}


CORPUS = CorpusSpec(
    name="thai-ser",
    title="THAI-SER",
    language="th",
    pattern=(r"(?P<session>(?:studio|zoom)\d{3})/(?P<microphone>con|clip|mic)/(?P<clip_name>[sz]\d{3}_[^/]+)"),
    example="studio001/con/s001_1",
    labels=_LABELS,
    id=Rule("{clip_name}"),
    emotion=Rule("{agreed}"),
    # Two actors, whom the labels do not tell apart.
    speaker=Rule("{session}"),
    skip={"microphone": {"clip": "a second microphone, which repeats the first"}},
    tables=(
        _Votes(
            {"emotion_label*.json": {}, "labels.json": {}},
            key=Rule("{name}"),
            clip_key=Rule("{clip_name}"),
            contents="votes of the listeners",
            required=True,
        ),
    ),
    license="CC BY-SA 4.0",
    redistribution=True,
    non_commercial=False,
    how_to_get="https://github.com/vistec-AI/dataset-releases/releases/tag/v1",
    citation="Wongpithayadisai et al., THAI Speech Emotion Recognition (THAI-SER) corpus, arXiv 2507.09618, 2025",
    note="A speaker is a session of two actors. A clip whose listeners agree by less than 71 % has no label.",
)
