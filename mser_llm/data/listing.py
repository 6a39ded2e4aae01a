# SPDX-License-Identifier: Apache-2.0
"""List the files of a folder and its subfolders without opening them."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from processing_mser.audio_mser import AUDIO_EXTENSIONS


MEDIA_EXTENSIONS = (
    ".m4a", ".aac", ".wma", ".amr", ".webm", ".mp4", ".m4v", ".avi", ".mkv", ".mov", ".flv", ".mpg", ".mpeg", ".mts",
)  # fmt: skip
"""Files with audio that soundfile cannot open."""
_RANK = {extension: rank for rank, extension in enumerate(AUDIO_EXTENSIONS)}


@dataclass
class Listing:
    """Paths relative to the folder, with `/`, sorted by their components. Hidden files are left out."""

    audio: list[str] = field(default_factory=list)
    """Files that soundfile can open, by their extension."""
    media: list[str] = field(default_factory=list)
    """Other files with audio."""
    others: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    """Folders without read permission, links to folders, and broken links to audio."""
    misnamed: list[str] = field(default_factory=list)
    """Files whose names are not UTF-8; a table of results cannot contain them."""


def list_files(folder: Path) -> Listing:
    """List a folder and all its subfolders; links to folders are not followed."""
    found = Listing()
    for path, broken in _walk(str(folder), "", found.unreadable):
        extension = extension_of(path)
        if not _is_text(path):
            found.misnamed.append(path)
        elif extension in _RANK:
            (found.unreadable if broken else found.audio).append(path)
        elif extension in MEDIA_EXTENSIONS:
            (found.unreadable if broken else found.media).append(path)
        elif not broken:
            found.others.append(path)
    for paths in (found.audio, found.media, found.others, found.unreadable, found.misnamed):
        paths.sort(key=lambda path: path.split("/"))
    return found


def extension_of(path: str) -> str:
    """Return the extension in lower case with its dot; an empty string if there is none."""
    name = path.rpartition("/")[2].lower()
    dot = name.rfind(".")
    return name[dot:] if dot > 0 else ""


def without_extension(path: str) -> str:
    """Remove the extension of an audio file from a path; other extensions are part of the name."""
    extension = extension_of(path)
    return path[: -len(extension)] if extension in _RANK or extension in MEDIA_EXTENSIONS else path


def format_rank(path: str) -> int:
    """Return the rank of an audio format; the lowest is used, uncompressed before compressed."""
    return _RANK[extension_of(path)]


def _walk(folder: str, prefix: str, unreadable: list[str]) -> Iterator[tuple[str, bool]]:
    try:
        with os.scandir(folder) as scanned:
            entries = [entry for entry in scanned if not entry.name.startswith(".")]
    except OSError:
        unreadable.append(prefix.rstrip("/") or ".")
        return
    for entry in entries:
        path = prefix + entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path, path + "/", unreadable)
        elif not entry.is_symlink():
            yield path, False
        elif os.path.isdir(entry.path):
            unreadable.append(path)
        else:
            yield path, not os.path.exists(entry.path)


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
