# SPDX-License-Identifier: Apache-2.0
"""Match the header of a user's table to the columns of a row: by name, or by a usual alias."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mser_llm.data.loaded_corpus import CorpusError


REQUIRED = ("path", "emotion")
ALIASES: dict[str, tuple[str, ...]] = {
    "path": (
        "file_name", "file", "file_path", "audio", "audio_file", "audio_path", "audio_file_path",
        "audio_file_name", "wav", "wav_file", "wav_path", "clip", "clip_path", "recording",
    ),
    "emotion": ("label", "emotion_label", "emotions", "labels", "class", "class_label", "class_name", "category"),
    "speaker": (
        "speaker_id", "speaker_name", "spk", "spk_id", "spkr", "spkr_id", "speakers", "talker", "talker_id", "actor",
        "actor_id", "client_id", "subject_id", "participant_id",
    ),
    "language": ("lang", "language_code", "lang_code", "language_id", "lang_id", "locale"),
    "gender": ("sex", "speaker_gender"),
    "transcript": ("transcription", "text", "sentence"),
    "split": ("subset", "partition"),
}  # fmt: skip
"""Column of a row to its other names in users' tables, compared by `letters`; `file_name` is Hugging Face's."""


def letters(name: str) -> str:
    """Return a name in lower case, without spaces and punctuation."""
    return re.sub(r"[\W_]", "", name).lower()


_EXACT = {letters(column): column for column in ALIASES}
_KNOWN = _EXACT | {letters(alias): column for column, aliases in ALIASES.items() for alias in aliases}


@dataclass(frozen=True)
class TableColumns:
    """
    The columns of one table.

    Attributes:
        names: for each cell of a line its column of a row; None for a cell that is not used.
        unused: columns that are not used, as written in the header.
        absent: required columns that the header lacks.
    """

    names: tuple[str | None, ...]
    unused: tuple[str, ...]
    absent: tuple[str, ...]

    def warnings(self) -> list[str]:
        """Return a warning with the unused columns, if any, and the near match of each one that may be misspelled."""
        if not self.unused:
            return []
        free = {key: column for key, column in _KNOWN.items() if column not in self.names}
        shown = []
        for name in self.unused:
            near = difflib.get_close_matches(letters(name), free, n=1, cutoff=0.85)
            shown.append(f"{name} (did you mean {free[near[0]]}?)" if near else name)
        several = len(self.unused) > 1
        return [
            f"column{'s' * several} {', '.join(shown)} {'are' if several else 'is'} not used; to use a column, rename "
            f"it to one of {', '.join(ALIASES)}"
        ]


def table_columns(path: Path, header: Sequence[str]) -> TableColumns:
    """
    Match a header. A column's own name (`emotion`) takes precedence over an alias (`label`), which is then unused.

    Raises:
        CorpusError: one column twice, or two aliases of one column.
    """
    written = [cell.strip() for cell in header]
    names: list[str | None] = [None] * len(written)
    for column in ALIASES:
        exact = [place for place, cell in enumerate(written) if _EXACT.get(letters(cell)) == column]
        aliases = [place for place, cell in enumerate(written) if _KNOWN.get(letters(cell)) == column]
        found = exact or aliases
        if len(found) > 1 and exact:
            raise CorpusError(path, f"has the column {column} more than once", "rename all but one of them")
        if len(found) > 1:
            problem = f"{' and '.join(written[place] for place in found)} can both be the column {column}"
            raise CorpusError(path, problem, f"rename the one to use to {column}")
        if found:
            names[found[0]] = column
    unused = [cell or f"number {place + 1} (no name)" for place, cell in enumerate(written) if names[place] is None]
    return TableColumns(tuple(names), tuple(unused), tuple(column for column in REQUIRED if column not in names))
