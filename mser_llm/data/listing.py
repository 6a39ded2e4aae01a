# SPDX-License-Identifier: Apache-2.0
"""The files under a folder, found in one walk that opens none of them."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from processing_mser.audio_mser import AUDIO_EXTENSIONS


MEDIA_EXTENSIONS = (
    ".m4a", ".aac", ".wma", ".amr", ".webm", ".mp4", ".m4v", ".avi", ".mkv", ".mov", ".flv", ".mpg", ".mpeg", ".mts",
)  # fmt: skip
"""Files with sound in them that soundfile does not open."""
_RANK = {extension: rank for rank, extension in enumerate(AUDIO_EXTENSIONS)}


@dataclass
class Listing:
    """Paths relative to the folder, with `/`, in the order of their parts. What is hidden is not there."""

    audio: list[str] = field(default_factory=list)
    """What soundfile opens, by extension."""
    media: list[str] = field(default_factory=list)
    """Other files with sound."""
    others: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    """Folders that may not be searched, links to folders, and links to audio that is not there."""
    misnamed: list[str] = field(default_factory=list)
    """What has a name that is not UTF-8, which no table of results could hold."""


def list_files(folder: Path) -> Listing:
    """Everything under a folder, folders of folders included; links to folders are not followed."""
    found = Listing()
    for path, dangling in _walk(str(folder), "", found.unreadable):
        extension = extension_of(path)
        if not _is_text(path):
            found.misnamed.append(path)
        elif extension in _RANK:
            (found.unreadable if dangling else found.audio).append(path)
        elif extension in MEDIA_EXTENSIONS:
            (found.unreadable if dangling else found.media).append(path)
        elif not dangling:
            found.others.append(path)
    for paths in (found.audio, found.media, found.others, found.unreadable, found.misnamed):
        paths.sort(key=_parts)
    return found


def extension_of(path: str) -> str:
    """The extension in lower case, with its dot; nothing where there is none."""
    name = path.rpartition("/")[2].lower()
    dot = name.rfind(".")
    return name[dot:] if dot > 0 else ""


def without_extension(path: str) -> str:
    """The path without the extension of a recording; another dot belongs to the name."""
    extension = extension_of(path)
    return path[: -len(extension)] if extension in _RANK or extension in MEDIA_EXTENSIONS else path


def format_rank(path: str) -> int:
    """Which of two copies of a clip to take: the lower, uncompressed before compressed."""
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


def _parts(path: str) -> list[str]:
    return path.split("/")
