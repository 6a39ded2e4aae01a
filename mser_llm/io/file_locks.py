# SPDX-License-Identifier: Apache-2.0
"""Locks on files, freed by the kernel when their process ends, however it ends."""

import errno
import os
from pathlib import Path
from typing import IO, Any


try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def try_lock(file: IO[Any]) -> bool | None:
    """
    Lock an open, writable file for this process, without waiting.

    POSIX record locks, unlike flock, are not inherited by child processes, and they reach across the machines that
    share a network folder. Closing any handle of the file frees the lock, so no other code may open the file.

    Returns:
        Whether the lock is held now; `None` where the file system has no locks.
    """
    if fcntl is None:
        return None
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in (errno.EACCES, errno.EAGAIN) else None
    return True


def open_locked(path: str | os.PathLike, mode: str, **options: Any) -> tuple[IO[Any], bool | None]:
    """
    Open a file and try to lock it; a file that its last holder removed meanwhile is created again.

    Args:
        path: the file.
        mode, options: as for `open`.

    Returns:
        The open file, and what `try_lock` says.
    """
    while True:
        file = open(path, mode, **options)  # noqa: SIM115 - the caller closes it
        held = try_lock(file)
        try:
            current = os.path.samestat(os.fstat(file.fileno()), os.stat(path))
        except FileNotFoundError:
            current = False
        if current or not held:
            return file, held
        file.close()


def remove_abandoned(path: Path) -> None:
    """Remove a file unless a living process holds its lock, or nobody can tell."""
    try:
        with open(path, "r+b") as file:
            if try_lock(file):
                path.unlink()
    except OSError:
        pass  # removed by another process, or not ours to remove


__all__ = ["open_locked", "remove_abandoned", "try_lock"]
