# SPDX-License-Identifier: Apache-2.0
"""Report a full disk with the folder that was written, whichever library was writing."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from safetensors import SafetensorError

from mser_llm.io.atomic_files import DISK_FULL_ERRNOS


RUN_AGAIN = "free space there, and run the same command again"


@contextmanager
def explain_disk_full(folder: str | os.PathLike, fix: str = RUN_AGAIN) -> Iterator[None]:
    """
    Add the folder and a fix to the error of a full disk, a quota or a limit on file sizes.

    The errors of safetensors do not name the file, and those of `torch.save` not even the reason.

    Args:
        folder: where weights and other files are written.
        fix: what the user can do.

    Raises:
        OSError: one line with the folder, the reason and the fix.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = _reason(error)
        if reason is None:
            raise
        raise OSError(f"{folder}: cannot be written ({reason}); {fix}") from error


def _reason(error: Exception) -> str | None:
    """Return the limit that was reached; None for any other error."""
    if isinstance(error, OSError):
        return os.strerror(error.errno) if error.errno in DISK_FULL_ERRNOS else None
    if isinstance(error, SafetensorError):
        code = re.search(r"\(os error (\d+)\)", str(error))
        return os.strerror(int(code[1])) if code and int(code[1]) in DISK_FULL_ERRNOS else None
    # Errors of torch.save's stream and archive. While writing to a file they have no other cause.
    archive = re.search("iostream error|inline_container|PytorchStreamWriter", str(error))
    return "most likely the disk is full" if archive else None
