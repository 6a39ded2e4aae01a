# SPDX-License-Identifier: Apache-2.0
"""Clips of one corpus or several with their truths, and the predictions that come of answering them."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np

from mser_llm.evaluation.predictions import Predictions
from mser_llm.inference.clip_digests import clip_sha256
from processing_mser import LabelSet


@dataclass(frozen=True)
class LabeledClips:
    """Rows of one corpus or of several, each with the word of the label set that it counts as.

    Attributes:
        corpora: the name under which each clip's corpus was given.
        rows: of the row schema.
        truths: words of the label set.
    """

    corpora: list[str]
    rows: list[Mapping[str, Any]]
    truths: list[str]

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def from_rows(cls, name: str, rows: Sequence[Mapping[str, Any]], labels: LabelSet) -> "LabeledClips":
        """The rows of a corpus whose emotion the label set holds; the others are left out."""
        kept = [(row, truth) for row in rows if (truth := labels.map(row["emotion"])) is not None]
        return cls([name] * len(kept), [row for row, _ in kept], [truth for _, truth in kept])

    @classmethod
    def concatenate(cls, parts: Sequence["LabeledClips"]) -> "LabeledClips":
        """The clips of all parts, in their order."""
        return cls(
            [name for part in parts for name in part.corpora],
            [row for part in parts for row in part.rows],
            [truth for part in parts for truth in part.truths],
        )

    def subset(self, indices: Sequence[int]) -> "LabeledClips":
        """The clips at these positions, in the order of the positions."""
        return LabeledClips(
            [self.corpora[i] for i in indices], [self.rows[i] for i in indices], [self.truths[i] for i in indices]
        )

    @property
    def speakers(self) -> np.ndarray:
        """`(num_clips,)` names; a clip without a speaker is a speaker of its own."""
        return np.array([self.speaker_at(index) for index in range(len(self))])

    def speaker_at(self, index: int) -> str:
        """The name among `speakers` of one clip."""
        row = self.rows[index]
        return row["speaker"] or f"{row['corpus']} {row['id']}"

    def fingerprint(self) -> str:
        """A hash of which clips these are, what their files hold, what their truths are and who says them."""
        with ThreadPoolExecutor() as pool:
            # A file that was exchanged keeps its name.
            contents = list(pool.map(lambda row: clip_sha256(row["audio"]), self.rows))
        ids = [row["id"] for row in self.rows]
        # Whose intervals are drawn, and which clips may be mixed.
        people = [(row["speaker"], row["gender"], row["language"]) for row in self.rows]
        named = list(zip(self.corpora, ids, contents, self.truths, people))
        return hashlib.sha256(json.dumps(named).encode()).hexdigest()[:32]

    def to_predictions(
        self, labels: Sequence[str], predicted: Sequence[str], scores: np.ndarray | None = None
    ) -> Predictions:
        """A system's answers for these clips.

        Args:
            labels: the candidate words.
            predicted: one label per clip.
            scores: probabilities `(num_clips, num_labels)`, for a system that has any.
        """
        paths = (row["audio"]["path"] for row in self.rows)
        return Predictions(
            tuple(labels),
            corpora=list(self.corpora),
            ids=[row["id"] for row in self.rows],
            truths=list(self.truths),
            predicted=[str(word) for word in predicted],
            scores=scores,
            speakers=[row["speaker"] for row in self.rows],
            genders=[row["gender"] for row in self.rows],
            languages=[row["language"] for row in self.rows],
            files=[str(path) if isinstance(path, (str, PathLike)) else None for path in paths],
        )
