# SPDX-License-Identifier: Apache-2.0
"""Files that appear whole or not at all: a killed evaluation must not leave half a table to be taken for results."""

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
    Opens a neighbour of `path` for writing, and renames it to `path` once the block has ended without an error.

    Neighbours that killed processes left behind are removed first: the lock of a living one tells the two apart.

    Raises:
        OSError: it cannot be written; a full disk too is told by the file, which the system leaves out.
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
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.unfinished"):
        if left != unfinished:
            remove_abandoned(left)
    for _ in range(100):
        file, held = open_locked(unfinished, mode, **text)
        if held is not False:
            return file
        # Another process found the file before its lock, and is about to remove it.
        file.close()
        time.sleep(0.01)
    return open(unfinished, mode, **text)


def write_json(path: str | os.PathLike, content: Any) -> None:
    """Writes a JSON file for people too, whole or not at all; its folder is made if need be."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with atomic_open(path) as file:
        json.dump(content, file, indent=2, ensure_ascii=False)
        file.write("\n")
