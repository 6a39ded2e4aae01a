# SPDX-License-Identifier: Apache-2.0
"""Lock files between processes; the kernel frees a lock when its process ends for any reason."""

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

    POSIX record locks, unlike flock, are not inherited by child processes, and they work between machines that share a
    network folder. Closing any handle of the file frees the lock, so no other code may open the file.

    Returns:
        Whether this process now has the lock; `None` if the file system has no locks.
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
    Open a file and try to lock it; return it with the result of `try_lock`.

    A file that another process removed in the meantime is created again.
    """
    while True:
        file = open(path, mode, **options)  # noqa: SIM115 - the caller closes it
        locked = try_lock(file)
        try:
            current = os.path.samestat(os.fstat(file.fileno()), os.stat(path))
        except FileNotFoundError:
            current = False
        if current or not locked:
            return file, locked
        file.close()


def remove_abandoned(path: Path) -> None:
    """Remove a file unless a running process has its lock, or the file system has no locks."""
    try:
        with open(path, "r+b") as file:
            if try_lock(file):
                path.unlink()
    except OSError:
        pass  # removed by another process, or without permission
