# SPDX-License-Identifier: Apache-2.0
"""What a disk without room is told as, whichever library was writing."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from safetensors import SafetensorError

from mser_llm.io.atomic_files import DISK_FULL_ERRNOS


RUN_AGAIN = "make room there and run the same command again"


@contextmanager
def explain_disk_full(folder: str | os.PathLike, cure: str = RUN_AGAIN) -> Iterator[None]:
    """
    Names the folder in the error of a full disk, quota or file size limit.

    safetensors says which error it met and not where, and `torch.save` neither.

    Args:
        folder: into which weights and what goes with them are written.
        cure: what to do, after a semicolon.

    Raises:
        OSError: one line with the folder, the reason and the cure.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = _reason(error)
        if reason is None:
            raise
        raise OSError(f"{folder}: cannot be written ({reason}); {cure}") from error


def _reason(error: Exception) -> str | None:
    """Which limit was met; `None` for any other error."""
    if isinstance(error, OSError):
        return os.strerror(error.errno) if error.errno in DISK_FULL_ERRNOS else None
    if isinstance(error, SafetensorError):
        code = re.search(r"\(os error (\d+)\)", str(error))
        return os.strerror(int(code[1])) if code and int(code[1]) in DISK_FULL_ERRNOS else None
    # The words of torch.save's own stream and archive, which meet no other error while they write to a file.
    archive = re.search("iostream error|inline_container|PytorchStreamWriter", str(error))
    return "most likely the disk is full" if archive else None
