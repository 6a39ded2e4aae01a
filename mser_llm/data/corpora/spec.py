# SPDX-License-Identifier: Apache-2.0
"""The declaration of a corpus: what its files are called, what the names mean, and what should be there."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from string import Formatter

from mser_llm.data.corpora.rule import EMOTION, NULL, SPEAKER, Rule
from mser_llm.data.corpora.tables import ClipTable


@dataclass(frozen=True)
class ParquetClips:
    """Columns of a data set from the Hub that holds its recordings in Parquet files instead of in files of their own.

    The first part of a Parquet file's name (`train-00000-of-00001.parquet`) stands for the folder of its clips.
    """

    name: str
    """The column with the clip's base name."""
    audio: str
    """The column with the recording."""


@dataclass(frozen=True)
class CorpusSpec:
    """One corpus: what its files are called, what the names mean, and what should be there.

    `pattern` is a regular expression whose named groups become the file's fields. It must match the whole base name
    without the extension, because users re-encode; a pattern with a `/` must match that many last parts of the path.
    Two more fields are at hand: `stem`, the base name, and `id`.
    """

    name: str
    title: str
    language: str
    """ISO 639-1, or `many`."""
    pattern: str
    example: str
    """A base name that matches, for error messages."""
    license: str
    redistribution: bool
    """Whether the license lets anyone pass the recordings, and what is made of them, on; False where it is unclear."""
    non_commercial: bool
    """Whether the license forbids commercial use; True where it is unclear."""
    how_to_get: str
    citation: str
    expected: Mapping[str, int] = field(default_factory=dict)
    """Canonical emotion to the number of published clips."""
    expected_total: int | None = None
    """Published clips, those left out on purpose included, where only their total is known."""
    expected_splits: Mapping[str, int] = field(default_factory=dict)
    speakers: int | None = None
    """Published number of speakers, as far as the file names or tables tell them apart."""
    labelled: bool = True
    id: Rule | None = None
    """Unique within the corpus; by default what the pattern matched."""
    emotion: Rule = EMOTION
    """Gives the label or code as published."""
    speaker: Rule = SPEAKER
    """Unique within the corpus; the engine puts the corpus's name before it."""
    gender: Rule = NULL
    transcript: Rule = NULL
    split: Rule = NULL
    spoken: Rule = NULL
    """A clip's language, in a corpus of many."""
    folders: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Field to folder names, in lower case, and the values that they stand for; the deepest such folder counts."""
    skip: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Field to its values that are left out on purpose, each with the reason."""
    skip_folders: Mapping[str, str] = field(default_factory=dict)
    """Folder names, in lower case, that hold no clips, each with what they hold."""
    tables: tuple[ClipTable, ...] = ()
    """The columns of each join the fields of the file that its record is about."""
    parquet: ParquetClips | None = None
    release: str | None = None
    """A regular expression whose first group is the release, looked for in the names of folders."""
    note: str = ""
    """What a user of the corpus must know."""

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Every rule over a file's fields."""
        rules = (self.emotion, self.speaker, self.gender, self.transcript, self.split, self.spoken)
        return (*rules, *([self.id] if self.id else []), *(table.of for table in self.tables))

    @property
    def columns(self) -> frozenset[str]:
        """The fields that matter; a table of millions of lines keeps no other column."""
        return frozenset(self.skip).union(*(names_in(rule.template) for rule in self.rules))

    @property
    def clips(self) -> int | None:
        """Published number of clips, where it is known."""
        return sum(self.expected.values()) or self.expected_total

    def clips_left_out(self, skipped: Mapping[str, int]) -> int:
        """How many of the files that were left out, by reason, are published clips."""
        reasons = {reason for values in self.skip.values() for reason in values.values()}
        return sum(count for reason, count in skipped.items() if reason in reasons)

    def matcher(self) -> re.Pattern[str]:
        """Over a path without its extension, with `/`; the group `clip` is what the pattern itself matched."""
        return re.compile(rf"(?:.*/)?(?P<clip>{self.pattern})", re.DOTALL)


def names_in(template: str) -> set[str]:
    """The fields that a template asks for."""
    return {name for _, name, _, _ in Formatter().parse(template) if name}
