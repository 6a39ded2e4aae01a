# SPDX-License-Identifier: Apache-2.0
"""Splits: complete corpus, official split, by session, by speaker and by language."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mser_llm.evaluation.protocols.leaks import LeakReport
from mser_llm.io.errors import InputError


Row = Mapping[str, Any]
Rows = tuple[Row, ...]


class ProtocolError(InputError):
    """A protocol is unknown or does not apply to the rows."""


@dataclass(frozen=True)
class Fold:
    """Training, validation and test rows.

    Attributes:
        name: `whole`, `session1`, `fold3`, ….
        train, validation, test: rows; training and validation may be empty.
        leak: overlap of its training and test rows; None if not checked.
    """

    name: str
    train: Rows
    validation: Rows
    test: Rows
    leak: LeakReport | None = None


class Split(ABC):
    """How the rows of a protocol are divided."""

    shares_speakers = False

    @abstractmethod
    def divide(self, rows: Sequence[Row]) -> list[Fold]:
        """Return the folds.

        Raises:
            ProtocolError: the rows cannot be divided like this.
        """


@dataclass(frozen=True)
class FullCorpus(Split):
    """Zero-shot: every clip is tested, none is for training; one fold, `whole`."""

    def divide(self, rows: Sequence[Row]) -> list[Fold]:
        return [Fold("whole", (), (), tuple(rows))]

    def __str__(self) -> str:
        return "the complete corpus, zero-shot"


@dataclass(frozen=True)
class OfficialSplit(Split):
    """The official split, by the column `split`; one fold, named after the test split.

    Attributes:
        test, train, validation: values of the column.
        shares_speakers: the official split has the same speakers in training and test.
    """

    test: str
    train: str
    validation: str
    shares_speakers: bool = False

    def divide(self, rows: Sequence[Row]) -> list[Fold]:
        train, validation, test = (
            tuple(row for row in rows if row["split"] == part) for part in (self.train, self.validation, self.test)
        )
        if not test:
            found = ", ".join(sorted({str(row["split"]) for row in rows})) or "none"
            raise ProtocolError(f"split {self.test}", f"no clip (found: {found})", "pass the folders as published")
        return [Fold(self.test, train, validation, test)]

    def __str__(self) -> str:
        shared = ", which shares speakers with training" if self.shares_speakers else ""
        return f"the published {self.test} split{shared}"


@dataclass(frozen=True)
class LeaveOneSessionOut(Split):
    """Leave one session (the column `split`) out: one fold for each, in the order of their names."""

    def divide(self, rows: Sequence[Row]) -> list[Fold]:
        sessions = _groups(rows, "split", "session")
        names = sorted(set(sessions))
        if len(names) < 2:
            raise ProtocolError(str(self), f"only {len(names)} session(s)", "pass the complete corpus")
        return [_held_out(name, rows, [session == name for session in sessions]) for name in names]

    def __str__(self) -> str:
        return "leave one session out"


@dataclass(frozen=True)
class KFold(Split):
    """K folds without shared speakers, balanced by gender: `fold1` and so on; deterministic."""

    count: int

    def divide(self, rows: Sequence[Row]) -> list[Fold]:
        speakers = _groups(rows, "speaker", "speaker")
        genders = {row["speaker"]: str(row["gender"]) for row in rows}
        names = sorted(genders, key=lambda name: (genders[name], name))
        if len(names) < self.count:
            raise ProtocolError(str(self), f"only {len(names)} speaker(s)", "pass the complete corpus")
        number = {name: index % self.count for index, name in enumerate(names)}
        return [
            _held_out(f"fold{index + 1}", rows, [number[speaker] == index for speaker in speakers])
            for index in range(self.count)
        ]

    def __str__(self) -> str:
        return f"{self.count} folds by speaker"


@dataclass(frozen=True)
class LeaveLanguageOut(Split):
    """Test one language, an ISO 639-1 code, and train on the others; one fold, `to-LANGUAGE`."""

    language: str

    def divide(self, rows: Sequence[Row]) -> list[Fold]:
        fold = _held_out(f"to-{self.language}", rows, [row["language"] == self.language for row in rows])
        if not fold.test:
            raise ProtocolError(f"language {self.language}", "no clip is in it", "pass a corpus of this language")
        return [fold]

    def __str__(self) -> str:
        return f"all clips in {self.language}, which is left out of training"


def resolve_fold(protocol: str, names: Sequence[str], fold: str | None) -> str:
    """Resolve a fold by its name or its number from 1; None means the only fold.

    Raises:
        ProtocolError: there is no such fold, or None is given for several folds.
    """
    if fold in names:
        return str(fold)
    if fold is not None and fold.isdecimal() and 0 < int(fold) <= len(names):
        return names[int(fold) - 1]
    if fold is None and len(names) == 1:
        return names[0]
    problem = "has several folds" if fold is None else f"has no fold {fold!r}"
    raise ProtocolError(protocol, problem, f"pass --fold with one of {', '.join(names)}")


def _groups(rows: Sequence[Row], column: str, by: str) -> list[str]:
    groups = [row[column] for row in rows]
    if unknown := groups.count(None):
        problem = f"{unknown} of {len(rows)} clips have no {by}"
        raise ProtocolError(f"split by {by}", problem, f"pass clips with a {by}")
    return groups


def _held_out(name: str, rows: Sequence[Row], held: Sequence[bool]) -> Fold:
    train, test = (tuple(row for row, out in zip(rows, held) if out == part) for part in (False, True))
    return Fold(name, train, (), test)
