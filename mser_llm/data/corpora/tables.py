# SPDX-License-Identifier: Apache-2.0
"""Tables that come with a corpus: delimited ones, and text whose lines are records."""

import csv
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mser_llm.data.corpora.rule import STEM, Rule


@dataclass(frozen=True)
class ClipTable(ABC):
    """A table whose columns join the fields of the files that its records are about.

    A clip that several files of the table name has the record of the file whose pattern comes first.
    """

    files: Mapping[str, Mapping[str, str]]
    """Pattern of a file's path, as far as it matters (`Session*/labels/*.txt`), to fields that all of it shares."""
    key: Rule
    """Over a record's columns: whom the record is about."""
    holds: str
    """What is in it, for messages."""
    of: Rule = STEM
    """Over the fields of an audio file: the key of its record."""
    required: bool = False
    """Whether a clip is nothing without its record."""
    lists_clips: bool = True
    """Whether every key is a clip, so that one without a file is missing."""

    @abstractmethod
    def records(self, path: Path) -> Iterable[Mapping[str, str]]:
        """The records of one file, column to value."""

    def named(self) -> str:
        """The names of its files, for messages."""
        return ", ".join(self.files)

    def find(self, paths: Iterable[str]) -> Iterator[tuple[str, Mapping[str, str]]]:
        """Those of the paths, with `/`, that are files of this table, and their shared fields."""
        paths = list(paths)
        for pattern, fields in self.files.items():
            matcher = re.compile(r"(?:.*/)?" + re.escape(pattern).replace(r"\*", "[^/]*"))
            yield from ((path, fields) for path in paths if matcher.fullmatch(path))


@dataclass(frozen=True)
class DelimitedTable(ClipTable):
    """CSV or TSV with a header."""

    delimiter: str = ","
    quoted: bool = True
    """Whether a value in quotes may hold the delimiter; else a quote is a letter like any other."""

    def records(self, path: Path) -> Iterator[Mapping[str, str]]:
        # A byte that is not UTF-8 spoils one letter of one transcript, not the corpus.
        with open(path, newline="", encoding="utf-8-sig", errors="replace") as lines:
            quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE
            for line in csv.DictReader(lines, delimiter=self.delimiter, quoting=quoting):
                yield {key.strip(): value.strip() for key, value in line.items() if key and isinstance(value, str)}


@dataclass(frozen=True)
class LineTable(ClipTable):
    """Text in which some lines are records."""

    line: str = ""
    """Regular expression for the beginning of such a line; its named groups are the columns."""

    def records(self, path: Path) -> Iterator[Mapping[str, str]]:
        matcher = re.compile(self.line)
        with open(path, encoding="utf-8-sig", errors="replace") as lines:
            for match in map(matcher.match, lines):
                if match is not None:
                    yield match.groupdict(default="")
