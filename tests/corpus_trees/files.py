# SPDX-License-Identifier: Apache-2.0
"""Empty files, text files, and what a clip means."""

from collections.abc import Callable, Mapping
from pathlib import Path


Clip = tuple[str | None, str | None, str | None, str | None]
"""Emotion, speaker, gender and split of a row."""


def touch(root: Path, *names: str) -> None:
    """Empty files."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def write(root: Path, name: str, *lines: str) -> Path:
    """A text file of these lines."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def named(clips: Mapping[str, Clip]) -> Callable[[Path], dict[str, Clip]]:
    """A corpus whose file names tell everything: paths to what they mean, by the name without its folder."""

    def build(root: Path) -> dict[str, Clip]:
        touch(root, *clips)
        return {Path(path).stem: clip for path, clip in clips.items()}

    return build
