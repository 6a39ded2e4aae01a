# SPDX-License-Identifier: Apache-2.0
"""Declare a corpus: how its files are named, what the names mean, its labels, tables, published counts and license."""

import csv
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Formatter
from typing import Literal


@dataclass(frozen=True)
class Rule:
    """
    Compute one column of a row from the fields of a file.

    `Rule("{actor}", {"01": "male"})` gives `male` for the field `actor` = `01`. A missing field, an empty result and a
    value outside `values` give null.
    """

    template: str
    """Format string over the fields."""
    values: Mapping[str, str] | None = None
    """Maps the formatted text to the column's value."""
    pattern: str | None = None
    """Applied before `values`: a regular expression for the complete text, of which the first group is kept."""

    def __call__(self, fields: Mapping[str, str]) -> str | None:
        if not self.template:
            return None
        try:
            value = self.template.format_map(fields).strip()
        except KeyError:
            return None
        if self.pattern is not None:
            match = re.fullmatch(self.pattern, value)
            value = match[1] if match else ""
        if self.values is not None:
            return self.values.get(value)
        return value or None

    @property
    def fields(self) -> set[str]:
        """The fields that the template uses."""
        return {name for _, name, _, _ in Formatter().parse(self.template) if name}


NULL = Rule("")


@dataclass(frozen=True)
class ClipTable(ABC):
    """
    A table that comes with a corpus. Its columns are added to the fields of the files that its records describe.

    If several files of the table describe a clip, the record of the first pattern in `files` is used.
    """

    files: Mapping[str, Mapping[str, str]]
    """Pattern of a file's last path components (`Session*/labels/*.txt`) to fields that all its records share."""
    key: Rule
    """Computes the key of a record from its columns."""
    contents: str
    """What the table gives, for messages: `emotions`."""
    clip_key: Rule = Rule("{stem}")
    """Computes the key of an audio file's record from the file's fields."""
    required: bool = False
    """Whether a clip without a record is left out."""
    lists_clips: bool = True
    """Whether every key is a clip, so that a key without a file is a missing file."""

    @abstractmethod
    def records(self, path: Path) -> Iterable[Mapping[str, str]]:
        """Read the records of one file, column to value."""

    def file_names(self) -> str:
        """The names of its files, for messages."""
        return ", ".join(self.files)

    def find(self, paths: Iterable[str]) -> Iterator[tuple[str, Mapping[str, str]]]:
        """Find the files of this table among paths with `/`, with their shared fields."""
        paths = list(paths)
        for pattern, fields in self.files.items():
            matcher = re.compile(r"(?:.*/)?" + re.escape(pattern).replace(r"\*", "[^/]*"))
            yield from ((path, fields) for path in paths if matcher.fullmatch(path))


@dataclass(frozen=True)
class DelimitedTable(ClipTable):
    """CSV or TSV with a header."""

    delimiter: str = ","
    quoted: bool = True
    """Whether quotes enclose values; if not, a quote is a character like any other."""

    def records(self, path: Path) -> Iterator[Mapping[str, str]]:
        # One byte that is not UTF-8 must not cost more than one character of one transcript.
        with open(path, newline="", encoding="utf-8-sig", errors="replace") as lines:
            quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE
            for line in csv.DictReader(lines, delimiter=self.delimiter, quoting=quoting):
                yield {key.strip(): value.strip() for key, value in line.items() if key and isinstance(value, str)}


@dataclass(frozen=True)
class LineTable(ClipTable):
    """Text in which some lines are records."""

    line: str = ""
    """Regular expression for the start of such a line; its named groups are the columns."""

    def records(self, path: Path) -> Iterator[Mapping[str, str]]:
        matcher = re.compile(self.line)
        with open(path, encoding="utf-8-sig", errors="replace") as lines:
            for match in map(matcher.match, lines):
                if match is not None:
                    yield match.groupdict(default="")


@dataclass(frozen=True)
class ParquetClips:
    """
    Columns of a Hub data set whose recordings are inside its Parquet files.

    The first part of a Parquet file's name (`train-00000-of-00001.parquet`) is used as the folder of its clips.
    """

    name: str
    """The column with the clip's base name."""
    audio: str
    """The column with the recording."""


@dataclass(frozen=True)
class CorpusSpec:
    """
    One corpus.

    `pattern` is a regular expression whose named groups become the fields of a file. It must match the complete base
    name without the extension, because users re-encode; a pattern with `/` must match that many last components of the
    path. Two more fields are available: `stem`, the base name, and `id`.
    """

    name: str
    title: str
    language: str
    """ISO 639-1; `zxx` for sounds without words, `many` for several languages."""
    pattern: str
    example: str
    """A base name that matches, for error messages."""
    license: str
    redistribution: bool
    """Whether the license permits redistribution of the recordings and of derived data; False if unclear."""
    non_commercial: bool
    """Whether the license forbids commercial use; True if unclear."""
    how_to_get: str
    citation: str
    labels: Mapping[str, str] = field(default_factory=dict)
    """Label or code as published to the canonical emotion; empty for a corpus without emotions."""
    expected: Mapping[str, int] = field(default_factory=dict)
    """Canonical emotion to the number of published clips."""
    expected_total: int | None = None
    """Number of published clips, those left out on purpose included, if only the total is known."""
    expected_splits: Mapping[str, int] = field(default_factory=dict)
    speakers: int | None = None
    """Number of speakers that the published file names or tables distinguish."""
    id: Rule | None = None
    """Unique within the corpus; the part of the path that `pattern` matched by default."""
    emotion: Rule = Rule("{emotion}")
    """Gives a key of `labels`."""
    speaker: Rule = Rule("{speaker}")
    """Unique within the corpus; the reader adds the corpus's name as a prefix."""
    gender: Rule = NULL
    transcript: Rule = NULL
    split: Rule = NULL
    clip_language: Rule = NULL
    """The language of a clip if `language` is `many`."""
    folders: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Field to lower-case folder names and the values that they mean; the deepest such folder is used."""
    skip: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Field to values that are left out on purpose, each with the reason."""
    skip_folders: Mapping[str, str] = field(default_factory=dict)
    """Lower-case names of folders without clips, each with its contents."""
    tables: tuple[ClipTable, ...] = ()
    parquet: ParquetClips | None = None
    release: str | None = None
    """Regular expression that is searched for in folder names; its first group is the release."""
    note: str = ""
    """What a user of the corpus must know."""

    @property
    def columns(self) -> frozenset[str]:
        """The fields that are used; no other column of a table is kept in memory."""
        rules = [self.emotion, self.speaker, self.gender, self.transcript, self.split, self.clip_language]
        rules += [self.id] if self.id else []
        rules += [table.clip_key for table in self.tables]
        return frozenset(self.skip).union(*(rule.fields for rule in rules))

    @property
    def clips(self) -> int | None:
        """Number of published clips, if known."""
        return sum(self.expected.values()) or self.expected_total

    def canonical_emotion(self, label: str) -> str | None:
        """
        Return the canonical emotion of a label; `None` if the corpus has no such label.

        Codes must match as published (EMO-DB's `W`); words match in any case and with any spaces around them.
        """
        return self.labels.get(label.strip()) or self.labels.get(" ".join(label.split()).lower())

    def published_clips(self, skipped: Mapping[str, int]) -> int:
        """Count the published clips among files that were left out, given as reason to number of files."""
        reasons = {reason for values in self.skip.values() for reason in values.values()}
        return sum(count for reason, count in skipped.items() if reason in reasons)

    def matcher(self) -> re.Pattern[str]:
        """Compile `pattern` for a path with `/` without its extension; the group `clip` is what `pattern` matched."""
        return re.compile(rf"(?:.*/)?(?P<clip>{self.pattern})", re.DOTALL)
