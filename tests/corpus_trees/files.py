# SPDX-License-Identifier: Apache-2.0
"""Create empty files, text files and corpora."""

from collections.abc import Callable, Mapping
from pathlib import Path


Clip = tuple[str | None, str | None, str | None, str | None]
"""Emotion, speaker, gender and split of a row."""


def touch(root: Path, *names: str) -> None:
    """Create empty files."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def write(root: Path, name: str, *lines: str) -> Path:
    """Create a text file."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def named(clips: Mapping[str, Clip], *, folders: bool = False) -> Callable[[Path], dict[str, Clip]]:
    """Return the builder of a corpus from paths to expected rows; `folders` are part of the ids of some corpora."""

    def build(root: Path) -> dict[str, Clip]:
        touch(root, *clips)
        return {str(Path(path).with_suffix("")) if folders else Path(path).stem: clip for path, clip in clips.items()}

    return build
