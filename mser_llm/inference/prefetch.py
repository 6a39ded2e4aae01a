# SPDX-License-Identifier: Apache-2.0
"""Load clips in threads ahead of the network, in order and in chunks of bounded size."""

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from processing_mser.audio_mser import AudioError
from processing_mser.windows_mser import Recording, read_recording


# A chunk ends at this much audio (115 MB), however few clips it has.
CHUNK_SECONDS = 1800.0
READERS = 4


@dataclass(frozen=True)
class LoadedClip:
    """A clip's recording at 16 kHz, or the error from reading it."""

    source: Any
    recording: Recording | None
    error: str | None = None

    @property
    def seconds(self) -> float:
        return 0.0 if self.recording is None else self.recording.seconds


def load_clip(source: Any) -> LoadedClip:
    """Read one clip, in any form that `load_audio` takes."""
    try:
        return LoadedClip(source, read_recording(source))
    except (AudioError, OSError) as error:
        return LoadedClip(source, None, _one_line(error))


def windows_of(clips: Sequence[LoadedClip], failures: dict[int, str]) -> Iterator[tuple[int, np.ndarray]]:
    """
    Yield the windows `(num_samples,)` of clips, each with the index of its clip; long recordings are read on demand.

    Args:
        clips: those with an error have no windows.
        failures: receives the errors of recordings that cannot be read a second time, by the index of the clip.
    """
    for index, clip in enumerate(clips):
        if clip.recording is not None:
            try:
                for window in clip.recording.windows():
                    yield index, window.waveform
            except (AudioError, OSError) as error:
                failures[index] = _one_line(error)


def load_ahead(sources: Iterable[Any], chunk_clips: int) -> Generator[list[LoadedClip], None, None]:
    """Yield chunks of at most `chunk_clips` clips and about `CHUNK_SECONDS` of audio, in the order of `sources`.

    The next chunk is read while the consumer works on one, so at most `2 * chunk_clips` sources are taken ahead. Which
    clips share a chunk depends on the sources alone and not on the speed of the threads, so that results repeat.
    """
    remaining = iter(sources)
    with ThreadPoolExecutor(READERS, "mser-read") as readers, ThreadPoolExecutor(1, "mser-chunk") as assembler:
        reading: deque[Future[LoadedClip]] = deque()

        def next_chunk() -> list[LoadedClip]:
            chunk: list[LoadedClip] = []
            seconds = 0.0
            while len(chunk) < chunk_clips and seconds < CHUNK_SECONDS:
                # A clip's length is known only after it is read, so few are read at a time.
                wanted = min(2 * READERS, chunk_clips - len(chunk)) - len(reading)
                reading.extend(readers.submit(load_clip, source) for source in islice(remaining, max(wanted, 0)))
                if not reading:
                    break
                chunk.append(reading.popleft().result())
                seconds += chunk[-1].seconds
            return chunk

        upcoming = assembler.submit(next_chunk)
        try:
            while chunk := upcoming.result():
                upcoming = assembler.submit(next_chunk)
                yield chunk
        finally:
            assembler.shutdown(wait=False, cancel_futures=True)
            readers.shutdown(wait=False, cancel_futures=True)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
