# SPDX-License-Identifier: Apache-2.0
"""Show one progress bar for all workers, which count into files, because they may run on other machines."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tqdm.auto import tqdm


_REFRESH_SECONDS = 0.5


@contextmanager
def show_progress(folder: Path, sizes: Sequence[int], missing: Sequence[int], show: bool) -> Iterator[None]:
    """Show the bar while the block runs.

    Args:
        folder: with a file per rank that contains the number of clips done; emptied first.
        sizes: clips of every rank.
        missing: ranks to build; the clips of all others count as done.
        show: whether to show it.
    """
    for old in folder.glob("*"):
        old.unlink(missing_ok=True)
    finished = threading.Event()
    done_before = sum(size for rank, size in enumerate(sizes) if rank not in set(missing))
    bar = tqdm(total=sum(sizes), initial=done_before, desc="Building M5SER", unit="clip", disable=not show)

    def refresh() -> None:
        bar.n = done_before + sum(_count(folder / f"{rank:05d}") for rank in missing)
        # tqdm keeps its lock if the terminal is gone; the next refresh would wait forever.
        with suppress(OSError), bar.get_lock():
            bar.refresh(nolock=True)

    def watch() -> None:
        while not finished.wait(_REFRESH_SECONDS):
            refresh()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()
        refresh()
        with suppress(OSError):
            bar.close()


def _count(path: Path) -> int:
    try:
        return int(path.read_bytes() or 0)
    except (OSError, ValueError):
        return 0
