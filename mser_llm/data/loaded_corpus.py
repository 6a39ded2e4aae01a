# SPDX-License-Identifier: Apache-2.0
"""The result that every corpus reader returns, the error that they raise, and the wording that they share."""

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mser_llm.data.corpora import CORPORA, FOLDER
from mser_llm.data.listing import Listing, extension_of
from mser_llm.io.errors import InputError


UNLABELED = "(no emotion)"
_LISTED = 5


class CorpusError(InputError):
    """A corpus cannot be read under the given name and path."""


@dataclass
class LoadedCorpus:
    """
    The rows of one corpus, and how they differ from what its publishers state.

    `str()` gives the table that `run-mser corpora` prints.
    """

    name: str
    path: Path
    rows: list[dict[str, Any]]
    expected: dict[str, int]
    """Canonical emotion to the published number of clips; empty for a user's own folder."""
    found: dict[str, int]
    """Emotion to the number of rows."""
    unmatched: list[Path]
    """Audio files that are not in `rows`."""
    warnings: list[str]
    skipped: dict[str, int] = field(default_factory=dict)
    """Reason to the number of files that were left out on purpose."""
    missing: list[Path] = field(default_factory=list)
    """Files that a table lists and that do not exist, named as in the table."""
    release: str | None = None
    """The release of a corpus, if a folder's name contains it."""

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
            lines.append(_count_line(emotion, width, self.found.get(emotion, 0), expected))
        total = _count_line("total", width, len(self.rows), clips)
        left_out = spec.published_clips(self.skipped) if spec else 0
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
                lines.append(f"  {title} files {len(paths)}: {join_some(paths)}")
        lines += [f"  warning: {warning}" for warning in self.warnings]
        return "\n".join(lines)


def unsupported_formats(path: Path, files: Sequence[str]) -> tuple[str, str]:
    """Describe files that soundfile cannot open, as the problem and the fix: a command that extracts their audio."""
    formats = sorted({extension_of(file) for file in files})
    names = " -o ".join(f"-name '*{extension}'" for extension in formats)
    if len(formats) > 1:
        names = rf"\( {names} \)"
    ffmpeg = """'ffmpeg -nostdin -i "$1" -vn -ac 1 -ar 16000 "${1%.*}.wav"'"""
    return (
        f"{' and '.join(formats)} files such as {files[0]} cannot be opened",
        rf"extract their audio: find {shlex.quote(str(path))} {names} -exec sh -c {ffmpeg} sh {{}} \;",
    )


def listing_warnings(listing: Listing) -> list[str]:
    """Describe the files and folders that a listing had to skip."""
    warnings = []
    if listing.unreadable:
        warnings.append(f"{len(listing.unreadable)} folders or links were not followed; see the unmatched files")
    if listing.misnamed:
        first = listing.misnamed[0].encode(errors="surrogateescape").decode(errors="backslashreplace")
        warnings.append(
            f"{len(listing.misnamed)} files have names that are not UTF-8, such as {first}, and were not read; rename "
            "them (convmv -f latin1 -t utf8 renames whole folders)"
        )
    return warnings


def join_some(names: Sequence[object]) -> str:
    """Join the first few names, followed by the number of the others."""
    shown = ", ".join(map(str, names[:_LISTED]))
    return shown + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")


def _count_line(name: str, width: int, found: int, expected: int | None) -> str:
    line = f"  {name:{width}}  {found:>7}"
    return line if expected is None else f"{line}  {expected:>8}" + ("" if found == expected else "  <- differs")
