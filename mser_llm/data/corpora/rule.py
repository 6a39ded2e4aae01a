# SPDX-License-Identifier: Apache-2.0
"""How one column of a row comes about from what a file's name, folders and tables say."""

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """How one column comes about: a template over the file's fields, then, where given, a table of its values.

    `Rule("{actor}", {"01": "male"})` is `male` for the field `actor` = `01`. A missing field, an empty result and a
    value outside the table give null. `pattern` comes before the table: a regular expression for the whole value,
    whose first group is what goes on; a value that it does not match gives null.
    """

    template: str
    values: Mapping[str, str] | None = None
    pattern: str | None = None

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


NULL = Rule("")
EMOTION, SPEAKER, STEM = Rule("{emotion}"), Rule("{speaker}"), Rule("{stem}")
