# SPDX-License-Identifier: Apache-2.0
"""Reading clips ahead of the network, in order, in threads, and never more than a window of them."""

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from processing_mser.audio_mser import AudioError
from processing_mser.windows_mser import Recording, read_recording


# A window closes at this much sound (115 MB), however few clips it then holds.
WINDOW_SECONDS = 1800.0
READERS = 4


@dataclass(frozen=True)
class Clip:
    """One source, read: the recording at 16 kHz, or the error that reading it gave."""

    source: Any
    recording: Recording | None
    error: str | None = None

    @property
    def seconds(self) -> float:
        return 0.0 if self.recording is None else self.recording.seconds


def read_clip(source: Any) -> Clip:
    try:
        return Clip(source, read_recording(source))
    except (AudioError, OSError) as error:
        return Clip(source, None, _line(error))


def windows_of(clips: Sequence[Clip], failures: dict[int, str]) -> Iterator[tuple[int, np.ndarray]]:
    """
    The windows `(num_samples,)` of clips, each with the index of its clip; those of a long recording are read on
    demand.

    Args:
        clips: those with an error have no windows.
        failures: takes the errors of recordings that cannot be read a second time, by the index of the clip.
    """
    for index, clip in enumerate(clips):
        if clip.recording is not None:
            try:
                for window in clip.recording.windows():
                    yield index, window.waveform
            except (AudioError, OSError) as error:
                failures[index] = _line(error)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def read_windows(sources: Iterable[Any], window_clips: int) -> Generator[list[Clip], None, None]:
    """Windows of at most `window_clips` clips and about `WINDOW_SECONDS` of sound, in the order of `sources`.

    While the consumer works on a window the next one is read, so at most `2 * window_clips` sources have been taken
    from the iterable beyond what was consumed. Which clips share a window depends on the sources alone, not on which
    thread was faster, so that results repeat.
    """
    remaining = iter(sources)
    with ThreadPoolExecutor(READERS, "mser-read") as readers, ThreadPoolExecutor(1, "mser-window") as assembler:
        reading: deque[Future[Clip]] = deque()

        def next_window() -> list[Clip]:
            window: list[Clip] = []
            seconds = 0.0
            while len(window) < window_clips and seconds < WINDOW_SECONDS:
                # A clip's length is known once it is read, so few are under way at a time.
                room = min(2 * READERS, window_clips - len(window)) - len(reading)
                reading.extend(readers.submit(read_clip, source) for source in islice(remaining, max(room, 0)))
                if not reading:
                    break
                window.append(reading.popleft().result())
                seconds += window[-1].seconds
            return window

        upcoming = assembler.submit(next_window)
        try:
            while window := upcoming.result():
                upcoming = assembler.submit(next_window)
                yield window
        finally:
            assembler.shutdown(wait=False, cancel_futures=True)
            readers.shutdown(wait=False, cancel_futures=True)
