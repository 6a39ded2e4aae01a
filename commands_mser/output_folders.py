# SPDX-License-Identifier: Apache-2.0
"""Folders that a command is to write into."""

from pathlib import Path


def check_folder(flag: str, folder: str | Path) -> None:
    """
    Refuses, before anything is measured, a folder that cannot be made because a file is in its way.

    Args:
        flag: that names it.
        folder: there already, or to be made with all above it.

    Raises:
        ValueError: it is a file, or lies under one.
    """
    path = Path(folder).expanduser()
    for part in (path, *path.parents):
        if part.is_dir():
            return
        # A link that leads nowhere is in the way too.
        if part.exists() or part.is_symlink():
            raise ValueError(f"{part}: is no folder; give another {flag}, or move it away")
