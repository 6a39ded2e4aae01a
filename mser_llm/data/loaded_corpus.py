# SPDX-License-Identifier: Apache-2.0
"""What any reader of a corpus hands back, and the errors that all of them share."""

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mser_llm.data.corpora import CORPORA, FOLDER
from mser_llm.data.listing import Listing, extension_of


UNLABELLED = "(no emotion)"
_LISTED = 5


class CorpusError(ValueError):
    """A corpus that cannot be read as what it was called; one line with the path and the cure."""


@dataclass
class LoadedCorpus:
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
    """Files that a table lists and that are not there, by the names that the table uses."""
    release: str | None = None
    """Of a corpus that is published in releases, where a folder's name tells."""

    def __str__(self) -> str:
        spec = CORPORA.get(self.name)
        release = f", release {self.release}" if self.release else ""
        title = spec.title if spec else "your own data" if self.name == FOLDER else "built by this project"
        lines = [f"{self.name}: {title}{release}, {self.path}"]
        emotions = [*self.expected, *(emotion for emotion in self.found if emotion not in self.expected)]
        width = max(len(emotion) for emotion in [*emotions, "emotion"])
        clips = sum(self.expected.values()) or (spec.expected_total if spec else None)
        lines.append(f"  {'emotion':{width}}  {'found':>7}" + (f"  {'expected':>8}" if clips else ""))
        for emotion in emotions:
            expected = self.expected.get(emotion, 0) if self.expected else None
            lines.append(_counted(emotion, width, self.found.get(emotion, 0), expected))
        total = _counted("total", width, len(self.rows), clips)
        left_out = spec.clips_left_out(self.skipped) if spec else 0
        # A published total without emotions counts the clips that are left out on purpose.
        lines.append(total.partition("  <-")[0] if not self.expected and len(self.rows) + left_out == clips else total)
        speakers = {row["speaker"] for row in self.rows} - {None}
        genders = Counter({row["speaker"]: row["gender"] for row in self.rows if row["speaker"]}.values())
        known = ", ".join(f"{genders[gender]} {gender}" for gender in ("female", "male") if genders[gender])
        languages = sorted({row["language"] for row in self.rows if row["language"]})
        splits = Counter(row["split"] for row in self.rows if row["split"])
        lines.append(f"  speakers {len(speakers) or 'unknown'}" + (f" ({known})" if known else ""))
        lines.append(f"  language {', '.join(languages) or 'unknown'}")
        if splits:
            lines.append("  splits " + ", ".join(f"{split} {count}" for split, count in splits.items()))
        if spec:
            lines.append(f"  license {spec.license}; {spec.citation}")
            lines += [f"  note: {spec.note}"] if spec.note else []
        lines += [f"  left out {count}: {reason}" for reason, count in self.skipped.items()]
        for title, paths in (("unmatched", self.unmatched), ("missing", self.missing)):
            if paths:
                lines.append(f"  {title} files {len(paths)}: {some(paths)}")
        lines += [f"  warning: {warning}" for warning in self.warnings]
        return "\n".join(lines)


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


def extraction(path: Path, files: Sequence[str]) -> str:
    """The formats of files that soundfile does not open, one of them, and the command that takes their sound out."""
    formats = sorted({extension_of(file) for file in files})
    names = " -o ".join(f"-name '*{extension}'" for extension in formats)
    if len(formats) > 1:
        names = rf"\( {names} \)"
    ffmpeg = """'ffmpeg -nostdin -i "$1" -vn -ac 1 -ar 16000 "${1%.*}.wav"'"""
    return (
        f"{' and '.join(formats)}, such as {files[0]}, which cannot be opened; take their sound out: "
        rf"find {shlex.quote(str(path))} {names} -exec sh -c {ffmpeg} sh {{}} \;"
    )


def passed_over(listing: Listing) -> list[str]:
    """What a walk could not take, as warnings."""
    warnings = []
    if listing.unreadable:
        warnings.append(f"{len(listing.unreadable)} folders or links were not followed; see the list")
    if listing.misnamed:
        first = listing.misnamed[0].encode(errors="surrogateescape").decode(errors="backslashreplace")
        warnings.append(
            f"{len(listing.misnamed)} files have names that are not UTF-8, such as {first}, and were not read; rename "
            "them (convmv -f latin1 -t utf8 renames whole folders)"
        )
    return warnings


def some(names: Sequence[object]) -> str:
    """The first few names, and how many more there are."""
    shown = ", ".join(map(str, names[:_LISTED]))
    return shown + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")


def _counted(name: str, width: int, found: int, expected: int | None) -> str:
    line = f"  {name:{width}}  {found:>7}"
    return line if expected is None else f"{line}  {expected:>8}" + ("" if found == expected else "  <- differs")
