# SPDX-License-Identifier: Apache-2.0
"""Splits: complete corpus, official split, by session, by speaker and by language."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

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


@dataclass(frozen=True)
class FullCorpus:
    """Zero-shot: every clip is tested, none is for training."""

    shares_speakers: ClassVar[bool] = False

    def divide(self, rows: Sequence[Row]) -> list[Fold]:
        """Return one fold, `whole`, without training rows."""
        return [Fold("whole", (), (), tuple(rows))]

    def __str__(self) -> str:
        return "the complete corpus, zero-shot"


@dataclass(frozen=True)
class OfficialSplit:
    """The official split, by the column `split`.

    Attributes:
        test, train, validation: values of the column.
        shares_speakers: the official split has the same speakers in training and test.
    """

    test: str
    train: str
    validation: str
    shares_speakers: bool = False

    def divide(self, rows: Sequence[Row]) -> list[Fold]:
        """Return one fold, named after the test split.

        Raises:
            ProtocolError: the test split has no row.
        """
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
class LeaveOneOut:
    """Leave one session (the column `split`) or speaker out: one fold for each."""

    by: Literal["session", "speaker"]
    shares_speakers: ClassVar[bool] = False

    def divide(self, rows: Sequence[Row]) -> list[Fold]:
        """Return the folds in the order of their names.

        Raises:
            ProtocolError: a clip without session or speaker, or fewer than two of them.
        """
        names = sorted(set(_groups(rows, self.by)))
        if len(names) < 2:
            raise ProtocolError(
                f"leave one {self.by} out", f"only {len(names)} {self.by}(s)", "pass the complete corpus"
            )
        return [_held_out(name, {name}, rows, self.by) for name in names]

    def __str__(self) -> str:
        return f"leave one {self.by} out"


@dataclass(frozen=True)
class KFold:
    """K folds without shared speakers, balanced by gender; deterministic."""

    count: int
    by: Literal["speaker"] = "speaker"
    shares_speakers: ClassVar[bool] = False

    def divide(self, rows: Sequence[Row]) -> list[Fold]:
        """Return `fold1` and so on.

        Raises:
            ProtocolError: a clip without a speaker, or fewer speakers than folds.
        """
        genders = {row["speaker"]: str(row["gender"]) for row in rows}
        names = sorted(set(_groups(rows, self.by)), key=lambda name: (genders[name], name))
        if len(names) < self.count:
            raise ProtocolError(str(self), f"only {len(names)} {self.by}(s)", "pass the complete corpus")
        return [
            _held_out(f"fold{index + 1}", set(names[index :: self.count]), rows, self.by)
            for index in range(self.count)
        ]

    def __str__(self) -> str:
        return f"{self.count} folds by {self.by}"


@dataclass(frozen=True)
class LeaveLanguageOut:
    """Test one language and train on the others."""

    language: str
    """ISO 639-1."""
    shares_speakers: ClassVar[bool] = False

    def divide(self, rows: Sequence[Row]) -> list[Fold]:
        """Return one fold, `to-LANGUAGE`.

        Raises:
            ProtocolError: no row is in the language.
        """
        test = tuple(row for row in rows if row["language"] == self.language)
        if not test:
            raise ProtocolError(f"language {self.language}", "no clip is in it", "pass a corpus of this language")
        return [Fold(f"to-{self.language}", tuple(row for row in rows if row["language"] != self.language), (), test)]

    def __str__(self) -> str:
        return f"all clips in {self.language}, which is left out of training"


Split = FullCorpus | OfficialSplit | LeaveOneOut | KFold | LeaveLanguageOut


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


def _groups(rows: Sequence[Row], by: str) -> list[str]:
    column = "split" if by == "session" else by
    groups = [row[column] for row in rows]
    unknown = groups.count(None)
    if unknown:
        raise ProtocolError(
            f"split by {by}", f"{unknown} of {len(rows)} clips have no {by}", f"pass clips with a {by}"
        )
    return groups


def _held_out(name: str, chosen: set[str], rows: Sequence[Row], by: str) -> Fold:
    held = [group in chosen for group in _groups(rows, by)]
    return Fold(
        name,
        tuple(row for row, out in zip(rows, held) if not out),
        (),
        tuple(row for row, out in zip(rows, held) if out),
    )
