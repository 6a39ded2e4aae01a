# SPDX-License-Identifier: Apache-2.0
"""Folders that a command is to write into."""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any


_FOLDERS = ("output_dir", "cache_dir")


def check_folders(arguments: Iterable[Any]) -> None:
    """
    `check_folder` for what a command's arguments name.

    Args:
        arguments: the dataclasses of a command.

    Raises:
        ValueError: see `check_folder` and `check_writable`.
    """
    for section in arguments:
        for name in _FOLDERS:
            folder = getattr(section, name, None)
            if isinstance(folder, str):
                check_folder(f"--{name}", folder)
                if name == "output_dir":
                    check_writable(f"--{name}", folder)


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


def check_writable(flag: str, folder: str | Path) -> None:
    """
    Check that a folder can be created or written to, before hours are spent on what it is to contain.

    Args:
        flag: that names it.
        folder: there already, or to be made with all above it.

    Raises:
        ValueError: the system refuses, as on a read-only disk, without permission, or under `/proc`.
    """
    path = Path(folder).expanduser().absolute()
    existing = next(part for part in (path, *path.parents) if part.is_dir())
    try:
        os.rmdir(tempfile.mkdtemp(prefix=".mser-", dir=existing))
    except OSError as error:
        raise ValueError(f"{path}: cannot be written ({error.strerror}); pass another {flag}") from error
