# SPDX-License-Identifier: Apache-2.0
"""What any reader of a corpus hands back, and the errors that all of them share."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from processing_mser.audio_mser import find_audio

from .corpora import CORPORA


UNLABELLED = "(no emotion)"
_LISTED = 5


class CorpusError(ValueError):
    """A corpus that cannot be read as what it was called; one line with the path and the cure."""


@dataclass
class CorpusReading:
    """What a reader found in one place, beside what was expected.

    `str()` is the table that the command `corpora` prints.
    """

    name: str
    path: Path
    rows: list[dict[str, Any]]
    expected: dict[str, int]
    """Canonical emotion to the published number of clips; empty for a user's own folder."""
    found: dict[str, int]
    """Emotion to the number of rows."""
    unmatched: list[Path]
    """Audio files that could not be given a row."""
    warnings: list[str]
    skipped: dict[str, int] = field(default_factory=dict)
    """Reason to the number of files that were left out on purpose."""
    missing: list[Path] = field(default_factory=list)
    """Files that a table lists and that are not there."""

    def __str__(self) -> str:
        spec = CORPORA.get(self.name)
        lines = [f"{self.name}: {spec.title if spec else 'your own data'}, {self.path}"]
        emotions = [*self.expected, *(emotion for emotion in self.found if emotion not in self.expected)]
        width = max(len(emotion) for emotion in [*emotions, "emotion"])
        lines.append(f"  {'emotion':{width}}  {'found':>7}" + (f"  {'expected':>8}" if self.expected else ""))
        for emotion in [*emotions, "total"]:
            found = len(self.rows) if emotion == "total" else self.found.get(emotion, 0)
            expected = sum(self.expected.values()) if emotion == "total" else self.expected.get(emotion, 0)
            line = f"  {emotion:{width}}  {found:>7}"
            if self.expected:
                line += f"  {expected:>8}" + ("" if found == expected else "  <- differs")
            lines.append(line)
        speakers = {row["speaker"] for row in self.rows} - {None}
        genders = Counter({row["speaker"]: row["gender"] for row in self.rows if row["speaker"]}.values())
        known = ", ".join(f"{genders[gender]} {gender}" for gender in ("female", "male") if genders[gender])
        languages = sorted({row["language"] for row in self.rows if row["language"]})
        lines.append(f"  speakers {len(speakers) or 'unknown'}" + (f" ({known})" if known else ""))
        lines.append(f"  language {', '.join(languages) or 'unknown'}")
        if spec:
            lines.append(f"  licence {spec.licence}; {spec.citation}")
        lines += [f"  left out {count}: {reason}" for reason, count in self.skipped.items()]
        for title, paths in (("unmatched", self.unmatched), ("missing", self.missing)):
            if paths:
                lines.append(f"  {title} files {len(paths)}: {_some(paths)}")
        lines += [f"  warning: {warning}" for warning in self.warnings]
        return "\n".join(lines)


def audio_files(path: Path, how_to_get: str) -> list[Path]:
    """All audio under a folder, sorted."""
    files = [file for file in find_audio([path]) if file != path]
    if not files:
        raise CorpusError(f"{path}: holds no audio file; {how_to_get}")
    return files


def check_ids(name: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Refuse two rows of one id, which are two copies of one clip."""
    first: dict[str, str] = {}
    for row in rows:
        path = row["audio"]["path"]
        if row["id"] in first:
            raise CorpusError(
                f"{path}: has the id {row['id']!r} of {first[row['id']]}; keep one copy, or give {name}=PATH one only"
            )
        first[row["id"]] = path


def _some(paths: Sequence[Path]) -> str:
    names = ", ".join(str(path) for path in paths[:_LISTED])
    return names + (f" and {len(paths) - _LISTED} more" if len(paths) > _LISTED else "")
