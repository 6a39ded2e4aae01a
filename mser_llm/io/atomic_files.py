# SPDX-License-Identifier: Apache-2.0
"""Write files atomically: a killed process leaves the old file or the new one, never a part of it."""

import errno
import glob
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from mser_llm.io.file_locks import open_locked, remove_abandoned


DISK_FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def atomic_open(path: str | os.PathLike, mode: str = "w") -> Iterator[IO[Any]]:
    """
    Open a temporary file next to `path` for writing, and rename it to `path` if the block ends without an error.

    Temporary files of killed processes are removed first. Those of running processes are recognized by their lock.

    Raises:
        OSError: the file cannot be written. `filename` is set also for a full disk, where the system leaves it out.
    """
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    text: dict[str, Any] = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
    try:
        with _open_unfinished(path, unfinished, mode, **text) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except BaseException as error:
        unfinished.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in DISK_FULL_ERRNOS and error.filename is None:
            error.filename = str(path)
        raise


def _open_unfinished(path: Path, unfinished: Path, mode: str, **text: Any) -> IO[Any]:
    for abandoned in path.parent.glob(f".{glob.escape(path.name)}.*.unfinished"):
        if abandoned != unfinished:
            remove_abandoned(abandoned)
    for _ in range(100):
        file, locked = open_locked(unfinished, mode, **text)
        if locked is not False:
            return file
        # Another process found the file before it was locked, and is about to remove it.
        file.close()
        time.sleep(0.01)
    return open(unfinished, mode, **text)


def write_json(path: str | os.PathLike, content: Any) -> None:
    """Write an indented JSON file atomically; its folder is created if necessary."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with atomic_open(path) as file:
        json.dump(content, file, indent=2, ensure_ascii=False)
        file.write("\n")
