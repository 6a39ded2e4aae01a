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


BABBLE_SPEAKERS = 5
_NONE = np.array([], dtype=np.int64)


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
        self._numbers = {name: number for number, name in enumerate(dict.fromkeys(pool.speakers.tolist()))}
        # Comparing numbers is a hundred times as fast as comparing names.
        self._speakers = np.array([self._numbers[name] for name in pool.speakers.tolist()], dtype=np.int64)
        self._corpora = _places(pool.corpora)
        self._by_language = _places(zip(pool.truths, (row["language"] for row in pool.rows)))
        self._other_languages: dict[tuple[str, str], np.ndarray] = {}

    def check(self, clips: LabeledClips, condition: Condition) -> None:
        """Check before a run that each clip finds the other clips that a condition needs.

        Raises:
            MissingPartnerError: a clip finds too few.
        """
        for index in range(len(clips) if condition.partners != "none" else 0):
            found = len(self._candidates(clips, index, condition))
            if found < _partner_count(condition):
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
        return np.asarray(condition.apply(waveform, level, rng, partners), dtype=np.float32)

    def _candidates(self, clips: LabeledClips, index: int, condition: Condition) -> np.ndarray:
        """Return the positions of possible partners in the pool, without the clip and its speaker."""
        own = self._numbers.get(clips.speaker_at(index), -1)
        matching = self._matching(clips.corpora[index], clips.truths[index], clips.rows[index]["language"], condition)
        return matching[self._speakers[matching] != own]

    def _matching(self, corpus: str, truth: str, language: str | None, condition: Condition) -> np.ndarray:
        """Return the positions of clips that a condition can mix, in ascending order, for any speaker."""
        if condition.partners in ("voice", "voices"):
            return self._corpora.get(corpus, _NONE)
        if language is None:
            return _NONE
        if condition.partners == "same language":
            return self._by_language.get((truth, language), _NONE)
        if (truth, language) not in self._other_languages:
            others = [
                places
                for (word, code), places in self._by_language.items()
                if word == truth and code is not None and code != language
            ]
            self._other_languages[truth, language] = np.sort(np.concatenate([_NONE, *others]))
        return self._other_languages[truth, language]

    def _load_partners(
        self, clips: LabeledClips, index: int, condition: Condition, rng: np.random.Generator
    ) -> list[np.ndarray]:
        if condition.partners == "none":
            return []
        found: list[np.ndarray] = []
        for position in rng.permutation(self._candidates(clips, index, condition)):
            try:
                found.append(load_audio(self.pool.rows[position]["audio"]))
            except (AudioError, OSError):
                continue
            if len(found) == _partner_count(condition):
                return found
        raise _too_few(clips, index, condition, len(found), "other readable")


def _places(keys: Iterable[Any]) -> dict[Any, np.ndarray]:
    """Return the positions of each key in ascending order."""
    found: dict[Any, list[int]] = {}
    for place, key in enumerate(keys):
        found.setdefault(key, []).append(place)
    return {key: np.array(places, dtype=np.int64) for key, places in found.items()}


def _partner_count(condition: Condition) -> int:
    return BABBLE_SPEAKERS if condition.partners == "voices" else 1


def _too_few(
    clips: LabeledClips, index: int, condition: Condition, found: int, kind: str = "other"
) -> MissingPartnerError:
    corpus, truth, clip = clips.corpora[index], clips.truths[index], clips.rows[index]["id"]
    # "voice" and "voices" come from the clip's own corpus; --others cannot provide them.
    from_corpus, from_others = f"add speakers of {corpus}", "add a corpus that has some with --others"
    needed, fix = {
        "voice": ("by another speaker", from_corpus),
        "voices": ("by another speaker", from_corpus),
        "same language": (f"of {truth} by another speaker of the same language", from_others),
        "other language": (f"of {truth} in another language", from_others),
    }[condition.partners]
    return MissingPartnerError(
        condition.name,
        f"{clip} of {corpus} needs {_partner_count(condition)} {kind} clips {needed}, found {found}",
        f"{fix}, or leave the condition out",
    )
