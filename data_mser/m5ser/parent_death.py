# SPDX-License-Identifier: Apache-2.0
"""Workers that do not outlive the process that started them."""

import ctypes
import os
import signal
import sys


_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int | None = None) -> None:
    """Asks the kernel to kill this process when its parent dies; Linux only, elsewhere nothing happens.

    Args:
        parent: its process id, where it is known. A parent that died before the asking would never be noticed, so
            this process then ends at once.
    """
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        os._exit(1)
