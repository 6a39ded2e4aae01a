# SPDX-License-Identifier: Apache-2.0
"""Windows of a recording of any length, read as they are asked for."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .audio_checks_mser import SampleCheck
from .audio_mser import MAX_SECONDS, SAMPLING_RATE, AudioError, cut_windows, open_audio, resampled


try:
    import soxr
except ImportError:
    soxr = None


HELD_SAMPLES = 600 * SAMPLING_RATE
"""Of a longer recording no more than a window is in memory (38 MB of float32)."""


@dataclass(frozen=True)
class Window:
    """
    A stretch of a recording.

    Attributes:
        waveform: `(num_samples,)` float32 at the rate that was asked for.
        start, end: seconds.
        part: whether the recording is longer, whether or not anything else of it is heard.
    """

    waveform: np.ndarray
    start: float
    end: float
    part: bool = False


@dataclass(frozen=True)
class Recording:
    """
    A recording that was read to its end and is valid.

    Attributes:
        source: in any form of `load_audio`, readable again.
        sampling_rate: Hz, of the windows.
        num_samples: at that rate.
        waveform: `(num_samples,)` float32, or `None` for a long recording, which is read again for its windows.
    """

    source: Any
    sampling_rate: int
    num_samples: int
    waveform: np.ndarray | None

    @property
    def seconds(self) -> float:
        return self.num_samples / self.sampling_rate

    def windows(self, window_seconds: float = MAX_SECONDS) -> Iterator[Window]:
        """
        The fewest windows of at most `window_seconds` that divide the recording evenly, less those in which every
        sample is 0.

        Raises:
            AudioError: a long recording is no longer what it was.
        """
        if self.waveform is not None:
            pieces: Any = cut_windows(self.waveform, self.sampling_rate, window_seconds)
        else:
            pieces = self._streamed(window_seconds)
        position, part = 0, self.num_samples > window_seconds * self.sampling_rate
        for piece in pieces:
            start, position = position, position + len(piece)
            if piece.any():
                yield Window(piece, start / self.sampling_rate, position / self.sampling_rate, part)

    def _streamed(self, window_seconds: float) -> Iterator[np.ndarray]:
        """The windows of `cut_windows`, of which only the one that is yielded is in memory."""
        count = math.ceil(self.num_samples / max(1, int(window_seconds * self.sampling_rate)))
        length, longer = divmod(self.num_samples, count)
        lengths = iter([length + 1] * longer + [length] * (count - longer))
        wanted, buffer, name = next(lengths), np.zeros(0, np.float32), ""
        for name, block in _resampled(self.source, self.sampling_rate):  # noqa: B007 - the name is for the error
            buffer = np.concatenate([buffer, block])
            while wanted and len(buffer) >= wanted:
                yield buffer[:wanted].copy()
                buffer, wanted = buffer[wanted:], next(lengths, 0)
        if abs(len(buffer) - wanted) > 1:  # soxr may round the other way
            raise AudioError(name, "changed while it was read", "run it again when nothing writes to it")
        if wanted:
            yield buffer


def read_recording(
    source: Any,
    sampling_rate: int = SAMPLING_RATE,
    held_samples: int | None = None,
    max_recording_seconds: float | None = None,
) -> Recording:
    """
    Read a recording of any length once, to its end, and check it as `load_audio` does.

    Args:
        source: as in `load_audio`.
        sampling_rate: Hz.
        held_samples: a recording of more samples is not held in memory; by default `HELD_SAMPLES`.
        max_recording_seconds: a longer recording is rejected; before it is decoded where its header states the length.

    Raises:
        AudioTooLongError: longer than `max_recording_seconds`.
        AudioError, ImportError: as `load_audio` does.
    """
    if hasattr(source, "read"):
        source = {"bytes": source.read(), "path": str(getattr(source, "name", "<file object>"))}
    most = HELD_SAMPLES if held_samples is None else held_samples
    blocks: list[np.ndarray] | None = []
    with open_audio(source, sampling_rate, max_recording_seconds) as sound:
        check = SampleCheck(sound.name, sound.rate)
        for block in sound.blocks:
            check.add(block)
            if blocks is not None:
                blocks.append(block)
            if check.samples > most:
                blocks = None
        check.finish()
        if blocks is None:
            total = (2 * check.samples * sampling_rate + sound.rate) // (2 * sound.rate)  # as soxr rounds
            return Recording(source, sampling_rate, total, None)
        waveform = resampled(sound.name, np.concatenate(blocks), sound.rate, sampling_rate)
    return Recording(source, sampling_rate, len(waveform), waveform)


def whole_windows(
    source: Any,
    window_seconds: float,
    sampling_rate: int = SAMPLING_RATE,
    max_recording_seconds: float | None = None,
) -> Iterator[Window]:
    """
    The fewest windows of at most `window_seconds` that divide a recording evenly, less those in which every sample is
    0. What is wrong with the recording is raised before the first of them.
    """
    recording = read_recording(source, sampling_rate, max_recording_seconds=max_recording_seconds)
    yield from recording.windows(window_seconds)


def sliding_windows(
    source: Any,
    window_seconds: float,
    overlap_seconds: float,
    unless_within: float = 0.0,
    sampling_rate: int = SAMPLING_RATE,
    max_recording_seconds: float | None = None,
) -> Iterator[Window]:
    """
    Windows of equal length over a recording that is never in memory as a whole.

    The last ends where the recording ends and overlaps its neighbour the more: a shorter one would be judged by less.
    A recording shorter than a window is one window. Windows in which every sample is 0 are left out: a model would
    guess on them.

    Args:
        source: as in `load_audio`. Files, and bytes, are decoded block by block.
        window_seconds: length of a window.
        overlap_seconds: what neighbours share, less than a window.
        unless_within: seconds; a recording up to so long is one window.
        sampling_rate: Hz, of the windows.
        max_recording_seconds: as in `read_recording`.

    Raises:
        AudioTooLongError: longer than `max_recording_seconds`.
        AudioError: as `load_audio` does. What shows only at the end of a recording, such as that all of it was silent,
            is raised when its windows have been yielded.
    """
    if not 0 <= overlap_seconds < window_seconds:
        raise ValueError(
            f"windows of {window_seconds:g} s cannot overlap by {overlap_seconds:g} s; give an overlap of at least 0 "
            "and less than the window"
        )
    size, hop = int(window_seconds * sampling_rate), max(1, int((window_seconds - overlap_seconds) * sampling_rate))
    uncut = max(size, int(unless_within * sampling_rate))
    begin = upcoming = 0  # of the buffer, and of the next window, in samples
    buffer = np.zeros(0, np.float32)
    cut = False
    for _, block in _resampled(source, sampling_rate, max_recording_seconds):
        buffer = np.concatenate([buffer, block])
        cut = cut or len(buffer) > uncut
        # More than a window, so that the last is known for the last.
        while cut and begin + len(buffer) > upcoming + size:
            buffer = buffer[upcoming - begin :]
            begin, upcoming = upcoming, upcoming + hop
            if buffer[:size].any():
                yield Window(buffer[:size].copy(), begin / sampling_rate, (begin + size) / sampling_rate, part=True)
    total = begin + len(buffer)
    last = buffer[-size:] if cut else buffer
    if last.any():
        yield Window(last.copy(), (total - len(last)) / sampling_rate, total / sampling_rate, part=cut)


def _resampled(source: Any, sampling_rate: int, max_seconds: float | None = None) -> Iterator[tuple[str, np.ndarray]]:
    """The name and the blocks of a recording, at the rate wanted."""
    with open_audio(source, sampling_rate, max_seconds) as sound:
        stream = None
        if sound.rate != sampling_rate:
            if soxr is None:
                raise ImportError(f"{sound.name}: resampling from {sound.rate} Hz needs soxr; pip install soxr")
            stream = soxr.ResampleStream(sound.rate, sampling_rate, 1, dtype="float32")
        check = SampleCheck(sound.name, sound.rate)
        for block in sound.blocks:
            check.add(block)
            check.check_values()
            yield sound.name, block if stream is None else stream.resample_chunk(block)
        check.finish()
        if stream is not None:
            yield sound.name, stream.resample_chunk(np.zeros(0, np.float32), last=True)


__all__ = ["Recording", "Window", "read_recording", "sliding_windows", "whole_windows"]
