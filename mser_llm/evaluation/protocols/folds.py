# SPDX-License-Identifier: Apache-2.0
"""How a corpus is divided: as a whole, by its publishers' split, by session, by speaker, by language."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from mser_llm.evaluation.protocols.leaks import LeakReport


Row = Mapping[str, Any]
Rows = tuple[Row, ...]


class ProtocolError(ValueError):
    """Rows that a protocol cannot be applied to, or a protocol that there is not."""


@dataclass(frozen=True)
class Fold:
    """One division.

    Attributes:
        name: `whole`, `session1`, `fold3`, ….
        train, validation, test: rows; training and validation are empty where a split has none.
        leak: what its own training and test share, None where that was not looked at.
    """

    name: str
    train: Rows
    validation: Rows
    test: Rows
    leak: LeakReport | None = None


@dataclass(frozen=True)
class FullCorpus:
    """Every clip is tested and none trained on: zero-shot."""

    shares_speakers: ClassVar[bool] = False

    def divide(self, rows: Sequence[Row]) -> list[Fold]:
        """One fold, `whole`, without training rows."""
        return [Fold("whole", (), (), tuple(rows))]

    def __str__(self) -> str:
        return "the whole corpus, zero-shot"


@dataclass(frozen=True)
class OfficialSplit:
    """The publishers' own split, by the rows' column `split`.

    Attributes:
        test, train, validation: values of the column.
        shares_speakers: the publishers put the same people into training and test.
    """

    test: str
    train: str
    validation: str
    shares_speakers: bool = False

    def divide(self, rows: Sequence[Row]) -> list[Fold]:
        """One fold, named after the test.

        Raises:
            ProtocolError: no row is of the test.
        """
        train, validation, test = (
            tuple(row for row in rows if row["split"] == part) for part in (self.train, self.validation, self.test)
        )
        if not test:
            found = ", ".join(sorted({str(row["split"]) for row in rows})) or "none"
            raise ProtocolError(
                f"no clip is of the split {self.test!r} (found: {found}); give the folders as published"
            )
        return [Fold(self.test, train, validation, test)]

    def __str__(self) -> str:
        shared = ", which shares speakers with training" if self.shares_speakers else ""
        return f"the published {self.test} split{shared}"


@dataclass(frozen=True)
class LeaveOneOut:
    """As many folds as there are sessions (the column `split`) or speakers; each is the test of one."""

    by: Literal["session", "speaker"]
    shares_speakers: ClassVar[bool] = False

    def divide(self, rows: Sequence[Row]) -> list[Fold]:
        """The folds in the order of their names.

        Raises:
            ProtocolError: a clip without session or speaker, or fewer than two of them.
        """
        names = sorted(set(_groups(rows, self.by)))
        if len(names) < 2:
            raise ProtocolError(f"{len(names)} {self.by}(s) cannot be left out one by one; give the whole corpus")
        return [_held_out(name, {name}, rows, self.by) for name in names]

    def __str__(self) -> str:
        return f"leave one {self.by} out"


@dataclass(frozen=True)
class KFold:
    """Folds of whole speakers, women and men dealt out in turn; the same for the same speakers."""

    count: int
    by: Literal["speaker"] = "speaker"
    shares_speakers: ClassVar[bool] = False

    def divide(self, rows: Sequence[Row]) -> list[Fold]:
        """`fold1` and so on.

        Raises:
            ProtocolError: a clip without a speaker, or fewer speakers than folds.
        """
        genders = {row["speaker"]: str(row["gender"]) for row in rows}
        names = sorted(set(_groups(rows, self.by)), key=lambda name: (genders[name], name))
        if len(names) < self.count:
            raise ProtocolError(f"{len(names)} {self.by}(s) do not make {self.count} folds; give the whole corpus")
        return [
            _held_out(f"fold{index + 1}", set(names[index :: self.count]), rows, self.by)
            for index in range(self.count)
        ]

    def __str__(self) -> str:
        return f"{self.count} folds by {self.by}"


@dataclass(frozen=True)
class LeaveLanguageOut:
    """One language is tested, and only others are trained on."""

    language: str
    """ISO 639-1."""
    shares_speakers: ClassVar[bool] = False

    def divide(self, rows: Sequence[Row]) -> list[Fold]:
        """One fold, `to-LANGUAGE`.

        Raises:
            ProtocolError: no row is in the language.
        """
        test = tuple(row for row in rows if row["language"] == self.language)
        if not test:
            raise ProtocolError(f"no clip is in the language {self.language!r}; give a corpus of it")
        return [Fold(f"to-{self.language}", tuple(row for row in rows if row["language"] != self.language), (), test)]

    def __str__(self) -> str:
        return f"all of the language {self.language}, which is left out of training"


Split = FullCorpus | OfficialSplit | LeaveOneOut | KFold | LeaveLanguageOut


def resolve_fold(protocol: str, names: Sequence[str], fold: str | None) -> str:
    """The name of a fold by its name or its number, from 1; the only one where none is asked for.

    Raises:
        ProtocolError: there is no such fold, or there are several.
    """
    if fold in names:
        return str(fold)
    if fold is not None and fold.isdecimal() and 0 < int(fold) <= len(names):
        return names[int(fold) - 1]
    if fold is None and len(names) == 1:
        return names[0]
    problem = "has several folds, and --fold names none" if fold is None else f"has no fold {fold!r}"
    raise ProtocolError(f"{protocol} {problem}; its folds are {', '.join(names)}")


def _groups(rows: Sequence[Row], by: str) -> list[str]:
    column = "split" if by == "session" else by
    groups = [row[column] for row in rows]
    unknown = groups.count(None)
    if unknown:
        raise ProtocolError(f"{unknown} of {len(rows)} clips have no {by}; a division by {by} needs it of every clip")
    return groups


def _held_out(name: str, chosen: set[str], rows: Sequence[Row], by: str) -> Fold:
    held = [group in chosen for group in _groups(rows, by)]
    return Fold(
        name,
        tuple(row for row, out in zip(rows, held) if not out),
        (),
        tuple(row for row, out in zip(rows, held) if out),
    )
