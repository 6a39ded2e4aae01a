# SPDX-License-Identifier: Apache-2.0
"""One bar over the clips of all workers, which count into files, as they may be on other machines."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tqdm.auto import tqdm


_SECONDS = 0.5


@contextmanager
def watched(folder: Path, sizes: Sequence[int], missing: Sequence[int], show: bool) -> Iterator[None]:
    """Shows the bar while the block runs.

    Args:
        folder: where the file of each rank holds the clips that it has done; emptied.
        sizes: clips of every rank.
        missing: the ranks that are to be built; the clips of the others count as done.
        show: whether there is a bar.
    """
    for left in folder.glob("*"):
        left.unlink(missing_ok=True)
    over = threading.Event()
    done_before = sum(size for rank, size in enumerate(sizes) if rank not in set(missing))
    bar = tqdm(total=sum(sizes), initial=done_before, desc="Building M5SER", unit="clip", disable=not show)

    def watch() -> None:
        while not over.wait(_SECONDS):
            _show(bar, folder, done_before, missing)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        _show(bar, folder, done_before, missing)
        bar.close()


def _show(bar: tqdm, folder: Path, done_before: int, missing: Sequence[int]) -> None:
    bar.n = done_before + sum(_count(folder / f"{rank:05d}") for rank in missing)
    bar.refresh()


def _count(path: Path) -> int:
    try:
        return int(path.read_bytes() or 0)
    except (OSError, ValueError):
        return 0
