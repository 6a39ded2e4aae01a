# SPDX-License-Identifier: Apache-2.0
"""Windows of a recording of any length, with overlap, read as they are asked for."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .audio_mser import SAMPLING_RATE, AudioError, cut_windows, load_audio, open_audio
from .sample_check_mser import MIN_SECONDS


try:
    import soxr
except ImportError:
    soxr = None


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


def whole_windows(source: Any, window_seconds: float, sampling_rate: int = SAMPLING_RATE) -> Iterator[Window]:
    """
    The fewest windows of at most `window_seconds` that divide a recording evenly, less those in which every sample is
    0; it is read whole.
    """
    position = 0
    for piece in cut_windows(load_audio(source, sampling_rate), sampling_rate, window_seconds):
        if piece.any():
            yield Window(piece, position / sampling_rate, (position + len(piece)) / sampling_rate)
        position += len(piece)


def sliding_windows(
    source: Any,
    window_seconds: float,
    overlap_seconds: float,
    unless_within: float = 0.0,
    sampling_rate: int = SAMPLING_RATE,
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

    Raises:
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
    sounds = cut = False
    name = ""
    for name, block in _resampled(source, sampling_rate):  # noqa: B007 - the name is for the errors below
        sounds = sounds or bool(block.any())
        buffer = np.concatenate([buffer, block])
        cut = cut or len(buffer) > uncut
        # More than a window, so that the last is known for the last.
        while cut and begin + len(buffer) > upcoming + size:
            buffer = buffer[upcoming - begin :]
            begin, upcoming = upcoming, upcoming + hop
            if buffer[:size].any():
                yield Window(buffer[:size].copy(), begin / sampling_rate, (begin + size) / sampling_rate, part=True)
    total = begin + len(buffer)
    if total < MIN_SECONDS * sampling_rate:
        problem = f"is too short ({total / sampling_rate:.3f} s, the least is {MIN_SECONDS} s)"
        raise AudioError(name, problem, "leave it out or give a longer recording")
    if not sounds:
        raise AudioError(name, "is silent (every sample is 0)", "record it again; if two channels cancel, keep one")
    last = buffer[-size:] if cut else buffer
    if last.any():
        yield Window(last.copy(), (total - len(last)) / sampling_rate, total / sampling_rate, part=cut)


def _resampled(source: Any, sampling_rate: int) -> Iterator[tuple[str, np.ndarray]]:
    """The name and the blocks of a recording, at the rate wanted."""
    with open_audio(source, sampling_rate) as sound:
        stream = None
        if sound.rate != sampling_rate:
            if soxr is None:
                raise ImportError(f"{sound.name}: resampling from {sound.rate} Hz needs soxr; pip install soxr")
            stream = soxr.ResampleStream(sound.rate, sampling_rate, 1, dtype="float32")
        yield sound.name, np.zeros(0, np.float32)
        for block in sound.blocks:
            if not np.isfinite(block).all():
                raise AudioError(sound.name, "holds NaN or infinite samples", "export it again")
            yield sound.name, block if stream is None else stream.resample_chunk(block)
        if stream is not None:
            yield sound.name, stream.resample_chunk(np.zeros(0, np.float32), last=True)


__all__ = ["Window", "sliding_windows", "whole_windows"]
