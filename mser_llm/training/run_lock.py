# SPDX-License-Identifier: Apache-2.0
"""Lock an output folder, so that only one training writes to it."""

import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from mser_llm.io.file_locks import open_locked


LOCK = ".training.lock"


class OutputFolderError(ValueError):
    """An output folder cannot be written to, or another training is writing to it."""


@contextmanager
def run_lock(output_dir: str | os.PathLike) -> Iterator[None]:
    """
    Lock an output folder for this training; in distributed training, the main process takes the lock.

    The kernel releases the lock when the process ends or is killed. On a file system without locks, such as some
    network folders, training continues with a warning.

    Raises:
        OutputFolderError: the folder cannot be written to or is locked; raised in all processes.
    """
    file, problem = None, None
    if PartialState().is_main_process:
        try:
            file = _acquire(Path(output_dir).expanduser())
        except OutputFolderError as error:
            problem = str(error)
    (problem,) = broadcast_object_list([problem])
    if problem is not None:
        raise OutputFolderError(problem)
    try:
        yield
    finally:
        if file is not None:
            # Delete before the release, so that this does not delete the file of the next training.
            Path(file.name).unlink(missing_ok=True)
            file.close()


def _acquire(folder: Path) -> IO[Any]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file, held = open_locked(folder / LOCK, "a+", encoding="utf-8")
    except OSError as error:
        raise OutputFolderError(f"{folder}: cannot be written ({error.strerror}); pass another output_dir") from error
    if held is False:
        with file:
            file.seek(0)
            holder = file.read().strip() or "another process"
        raise OutputFolderError(
            f"{folder}: {holder} is training into this folder; wait until it has ended, or pass another output_dir"
        )
    if held is None:
        warnings.warn(
            f"{folder}: the file system has no locks; make sure that no other training writes there", stacklevel=4
        )
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}")
    file.flush()
    return file
