# SPDX-License-Identifier: Apache-2.0
"""Clips of one or several corpora with their labels."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from mser_llm.data.loaded_corpus import UNLABELED
from mser_llm.evaluation.predictions import Predictions, clip_columns
from mser_llm.inference.clip_digests import clip_sha256
from mser_llm.io.errors import InputError
from mser_llm.io.hashing import digest
from processing_mser import LabelSet


class EvaluationError(InputError):
    """A corpus has no clip that can be evaluated."""


@dataclass(frozen=True)
class LabeledClips:
    """Rows of one or several corpora, each with its label.

    Attributes:
        corpora: the name of each clip's corpus, as given by the user.
        rows: of the row schema.
        truths: the label of each clip.
    """

    corpora: list[str]
    rows: list[Mapping[str, Any]]
    truths: list[str]

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def from_rows(cls, name: str, rows: Sequence[Mapping[str, Any]], labels: LabelSet) -> "LabeledClips":
        """Keep the rows of a corpus whose emotion is in the label set.

        Raises:
            EvaluationError: there is no such row.
        """
        kept = [(row, truth) for row in rows if (truth := labels.map(row["emotion"])) is not None]
        if not kept:
            seen = ", ".join(sorted({row["emotion"] or UNLABELED for row in rows})) or "none"
            raise EvaluationError(
                name,
                f"no clip has a label of {', '.join(labels.words)} (its emotions: {seen})",
                "choose other labels or another corpus",
            )
        return cls([name] * len(kept), [row for row, _ in kept], [truth for _, truth in kept])

    @classmethod
    def concatenate(cls, parts: Sequence["LabeledClips"]) -> "LabeledClips":
        """Join the clips of all parts in their order."""
        return cls(
            [name for part in parts for name in part.corpora],
            [row for part in parts for row in part.rows],
            [truth for part in parts for truth in part.truths],
        )

    def subset(self, indices: Sequence[int]) -> "LabeledClips":
        """Select clips by position, in the order of the positions."""
        return LabeledClips(
            [self.corpora[i] for i in indices], [self.rows[i] for i in indices], [self.truths[i] for i in indices]
        )

    @property
    def speakers(self) -> np.ndarray:
        """Speaker names `(num_clips,)`; a clip without a speaker gets a unique one."""
        return np.array([self.speaker_at(index) for index in range(len(self))])

    def speaker_at(self, index: int) -> str:
        """Return the name among `speakers` of one clip."""
        row = self.rows[index]
        return row["speaker"] or f"{row['corpus']} {row['id']}"

    def fingerprint(self) -> str:
        """Hash the clips' ids, file contents, labels and speakers."""
        with ThreadPoolExecutor() as pool:
            # A file may change under the same name.
            contents = list(pool.map(lambda row: clip_sha256(row["audio"]), self.rows))
        ids = [row["id"] for row in self.rows]
        # Speakers decide intervals and which clips may be mixed.
        people = [(row["speaker"], row["gender"], row["language"]) for row in self.rows]
        return digest(list(zip(self.corpora, ids, contents, self.truths, people)))[:32]

    def to_predictions(
        self, labels: Sequence[str], predicted: Sequence[str], scores: np.ndarray | None = None
    ) -> Predictions:
        """Combine these clips with a system's labels and probabilities `(num_clips, num_labels)`, if it has any."""
        clips = zip(self.corpora, self.rows, self.truths, map(str, predicted), strict=True)
        return Predictions.from_clips(labels, [clip_columns(*clip) for clip in clips], scores)
