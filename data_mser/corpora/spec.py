# SPDX-License-Identifier: Apache-2.0
"""The declaration of a corpus: what its files are called, what the names mean, and what should be there."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Rule:
    """How one column comes about: a template over the file's fields, then, where given, a table of its values.

    `Rule("{actor}", {"01": "male"})` is `male` for the field `actor` = `01`. A missing field, an empty result and a
    value outside the table give null.
    """

    template: str
    values: Mapping[str, str] | None = None

    def __call__(self, fields: Mapping[str, str]) -> str | None:
        try:
            value = self.template.format_map(fields).strip()
        except KeyError:
            return None
        if self.values is not None:
            return self.values.get(value)
        return value or None


NULL = Rule("")


@dataclass(frozen=True)
class MetadataTable:
    """A table that comes with a corpus; its columns join the fields of the file whose row it is."""

    name: str
    """Path of the table under the corpus folder."""
    key: Rule
    """Over the row's columns: the base name, without extension, of the file that the row is about."""
    delimiter: str = "\t"


@dataclass(frozen=True)
class CorpusSpec:
    """One corpus: what its files are called, what the names mean, and what should be there.

    `pattern` is a regular expression whose named groups become the file's fields. It must match the whole base name
    without the extension, because users re-encode; a pattern with a `/` must match that many last parts of the path.
    """

    name: str
    title: str
    language: str
    pattern: str
    example: str
    """A base name that matches, for error messages."""
    expected: Mapping[str, int]
    """Canonical emotion to the number of published clips."""
    licence: str
    how_to_get: str
    citation: str
    emotion: Rule = Rule("{emotion}")
    """Gives the label or code as published."""
    speaker: Rule = Rule("{speaker}")
    """Unique within the corpus; the engine puts the corpus's name before it."""
    gender: Rule = NULL
    transcript: Rule = NULL
    split: Rule = NULL
    skip: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Field to its values that are left out on purpose, each with the reason."""
    table: MetadataTable | None = None
