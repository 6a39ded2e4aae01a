# SPDX-License-Identifier: Apache-2.0
"""Clips under a condition: the same samples for the same clip, condition, level and seed, in any order and process."""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from mser_llm.evaluation.labeled_clips import LabeledClips
from mser_llm.evaluation.robustness.conditions import Condition
from processing_mser.audio_mser import SAMPLING_RATE, AudioError, load_audio


BABBLE_SPEAKERS = 5
_NONE = np.array([], dtype=np.int64)


class MissingPartnerError(ValueError):
    """A condition needs other clips than there are."""


class ClipPerturber:
    """Disturbs clips.

    Args:
        pool: the clips from which other voices and second halves are taken.
        seed: another seed draws other noise, voices and halves.
    """

    def __init__(self, pool: LabeledClips, seed: int = 0):
        self.pool, self.seed = pool, seed
        self._numbers = {name: number for number, name in enumerate(dict.fromkeys(pool.speakers.tolist()))}
        # Numbers, which are compared a hundred times as fast as names.
        self._speakers = np.array([self._numbers[name] for name in pool.speakers.tolist()], dtype=np.int64)
        self._corpora = _places(pool.corpora)
        self._spoken = _places(zip(pool.truths, (row["language"] for row in pool.rows)))
        self._elsewhere: dict[tuple[str, str], np.ndarray] = {}

    def check(self, clips: LabeledClips, condition: Condition) -> None:
        """Refuses, before anything is measured, a condition for which some clip finds no other, or too few.

        Raises:
            MissingPartnerError: names the clip and the cure.
        """
        for index in range(len(clips) if condition.partners != "none" else 0):
            found = len(self._candidates(clips, index, condition))
            if found < _wanted(condition):
                raise MissingPartnerError(_too_few(clips, index, condition, found))

    def sources(self, clips: LabeledClips, condition: Condition, level: float) -> Iterator[Any]:
        """What `recognize` takes, clip by clip; a clip that cannot be read is passed on as it is, to be reported."""
        for index, row in enumerate(clips.rows):
            try:
                waveform = load_audio(row["audio"])
            except (AudioError, OSError):
                yield row["audio"]
                continue
            yield {"array": self.disturbed(waveform, clips, index, condition, level), "sampling_rate": SAMPLING_RATE}

    def disturbed(
        self, waveform: np.ndarray, clips: LabeledClips, index: int, condition: Condition, level: float
    ) -> np.ndarray:
        """One clip's waveform `(num_samples,)` under a condition, float32.

        Chance does not depend on the level, so that along a curve the same noise grows louder.

        Raises:
            MissingPartnerError: too few other clips that the condition could use can be read.
        """
        row = clips.rows[index]
        key = f"{self.seed}\0{condition.name}\0{row['corpus']}\0{row['id']}".encode()
        chance = np.random.default_rng(int.from_bytes(hashlib.sha256(key).digest(), "big"))
        partners = self._load_partners(clips, index, condition, chance)
        return np.asarray(condition.apply(waveform, level, chance, partners), dtype=np.float32)

    def _candidates(self, clips: LabeledClips, index: int, condition: Condition) -> np.ndarray:
        """Where in the pool a clip's partners may be: never the same clip, nor the same speaker."""
        own = self._numbers.get(clips.speaker_at(index), -1)
        alike = self._alike(clips.corpora[index], clips.truths[index], clips.rows[index]["language"], condition)
        return alike[self._speakers[alike] != own]

    def _alike(self, corpus: str, truth: str, language: str | None, condition: Condition) -> np.ndarray:
        """Where in the pool a condition finds what it mixes, in ascending order, whoever speaks."""
        if condition.partners in ("voice", "voices"):
            return self._corpora.get(corpus, _NONE)
        if language is None:
            return _NONE
        if condition.partners == "same language":
            return self._spoken.get((truth, language), _NONE)
        if (truth, language) not in self._elsewhere:
            others = [
                places
                for (word, code), places in self._spoken.items()
                if word == truth and code is not None and code != language
            ]
            self._elsewhere[truth, language] = np.sort(np.concatenate([_NONE, *others]))
        return self._elsewhere[truth, language]

    def _load_partners(
        self, clips: LabeledClips, index: int, condition: Condition, chance: np.random.Generator
    ) -> list[np.ndarray]:
        if condition.partners == "none":
            return []
        found: list[np.ndarray] = []
        for position in chance.permutation(self._candidates(clips, index, condition)):
            try:
                found.append(load_audio(self.pool.rows[position]["audio"]))
            except (AudioError, OSError):
                continue
            if len(found) == _wanted(condition):
                return found
        raise MissingPartnerError(_too_few(clips, index, condition, len(found), "other readable"))


def _places(keys: Iterable[Any]) -> dict[Any, np.ndarray]:
    """Where each key stands, in ascending order."""
    found: dict[Any, list[int]] = {}
    for place, key in enumerate(keys):
        found.setdefault(key, []).append(place)
    return {key: np.array(places, dtype=np.int64) for key, places in found.items()}


def _wanted(condition: Condition) -> int:
    return BABBLE_SPEAKERS if condition.partners == "voices" else 1


def _too_few(clips: LabeledClips, index: int, condition: Condition, found: int, kind: str = "other") -> str:
    corpus, truth = clips.corpora[index], clips.truths[index]
    # Voices come of the clip's own corpus, where no other can lend any.
    within, lent = f"give more speakers of {corpus}", "give a corpus that has some with --others"
    needed, cure = {
        "voice": ("by another speaker", within),
        "voices": ("by another speaker", within),
        "same language": (f"of {truth} by another speaker of the same language", lent),
        "other language": (f"of {truth} in another language", lent),
    }[condition.partners]
    there = f"there is no {kind} clip {needed}"
    if found:
        there = f"{_wanted(condition)} {kind} clips {needed} are needed, and there are {found}"
    return f"{condition.name}: for {clips.rows[index]['id']} of {corpus} {there}; {cure}, or leave the condition out"
