# SPDX-License-Identifier: Apache-2.0
"""Perturb clips reproducibly: equal clip, condition, level and seed give equal samples in any order and process."""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from mser_llm.evaluation.labeled_clips import LabeledClips
from mser_llm.evaluation.robustness.conditions import Condition
from mser_llm.io.errors import InputError
from processing_mser.audio_mser import SAMPLING_RATE, AudioError, load_audio


class MissingPartnerError(InputError):
    """A condition needs other clips that are not available."""


class ClipPerturber:
    """Apply conditions to clips.

    Args:
        pool: clips from which other speakers and second halves are taken.
        seed: of noise, other speakers and halves.
    """

    def __init__(self, pool: LabeledClips, seed: int = 0):
        self.pool, self.seed = pool, seed
        # Comparing numbers is a hundred times as fast as comparing names.
        self._corpora, self._truths = _Numbers(pool.corpora), _Numbers(pool.truths)
        self._languages = _Numbers(row["language"] for row in pool.rows)
        self._speakers = _Numbers(pool.speakers.tolist())

    def check(self, clips: LabeledClips, condition: Condition) -> None:
        """Check before a run that each clip finds the other clips that a condition needs.

        Raises:
            MissingPartnerError: a clip finds too few.
        """
        for index in range(len(clips) if condition.num_partners else 0):
            found = len(self._candidates(clips, index, condition))
            if found < condition.num_partners:
                raise _too_few(clips, index, condition, found)

    def sources(self, clips: LabeledClips, condition: Condition, level: float) -> Iterator[Any]:
        """Yield the perturbed clips as inputs of `recognize`, which reports unreadable clips."""
        for index, row in enumerate(clips.rows):
            try:
                waveform = load_audio(row["audio"])
            except (AudioError, OSError):
                yield row["audio"]
                continue
            yield {"array": self.perturb(waveform, clips, index, condition, level), "sampling_rate": SAMPLING_RATE}

    def perturb(
        self, waveform: np.ndarray, clips: LabeledClips, index: int, condition: Condition, level: float
    ) -> np.ndarray:
        """Perturb one waveform `(num_samples,)` and return float32.

        The random draws do not depend on the level, so that only the strength changes along a curve.

        Raises:
            MissingPartnerError: too few of the clips that the condition needs are readable.
        """
        row = clips.rows[index]
        key = f"{self.seed}\0{condition.name}\0{row['corpus']}\0{row['id']}".encode()
        rng = np.random.default_rng(int.from_bytes(hashlib.sha256(key).digest(), "big"))
        partners = self._load_partners(clips, index, condition, rng)
        return np.asarray(condition.apply(waveform, level, rng, *partners), dtype=np.float32)

    def _candidates(self, clips: LabeledClips, index: int, condition: Condition) -> np.ndarray:
        """Return the positions of possible partners in the pool, without the clip and its speaker."""
        language = clips.rows[index]["language"]
        if condition.partners in ("voice", "voices"):
            fitting = self._corpora.equal(clips.corpora[index])
        else:
            same = self._languages.equal(language)
            known = ~self._languages.equal(None) & (language is not None)
            fitting = known & (same if condition.partners == "same language" else ~same)
            fitting &= self._truths.equal(clips.truths[index])
        return np.flatnonzero(fitting & ~self._speakers.equal(clips.speaker_at(index)))

    def _load_partners(
        self, clips: LabeledClips, index: int, condition: Condition, rng: np.random.Generator
    ) -> list[np.ndarray]:
        if not condition.num_partners:
            return []
        found: list[np.ndarray] = []
        for position in rng.permutation(self._candidates(clips, index, condition)):
            try:
                found.append(load_audio(self.pool.rows[position]["audio"]))
            except (AudioError, OSError):
                continue
            if len(found) == condition.num_partners:
                return found
        raise _too_few(clips, index, condition, len(found), "other readable")


class _Numbers:
    """Values as numbers, to compare all of them with one."""

    def __init__(self, values: Iterable[Any]):
        self.numbers: dict[Any, int] = {}
        self.array = np.array([self.numbers.setdefault(value, len(self.numbers)) for value in values], dtype=np.int64)

    def equal(self, value: Any) -> np.ndarray:
        return self.array == self.numbers.get(value, -1)


def _too_few(
    clips: LabeledClips, index: int, condition: Condition, found: int, kind: str = "other"
) -> MissingPartnerError:
    corpus, truth, clip = clips.corpora[index], clips.truths[index], clips.rows[index]["id"]
    needed, fix = (
        {
            "same language": f"of {truth} by another speaker of the same language",
            "other language": f"of {truth} in another language",
        }.get(condition.partners),
        "add a corpus that has some with --others",
    )
    if needed is None:  # from the clip's own corpus; --others cannot provide them
        needed, fix = "by another speaker", f"add speakers of {corpus}"
    return MissingPartnerError(
        condition.name,
        f"{clip} of {corpus} needs {condition.num_partners} {kind} clips {needed}, found {found}",
        f"{fix}, or leave the condition out",
    )
