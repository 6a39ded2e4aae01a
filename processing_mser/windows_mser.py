# SPDX-License-Identifier: Apache-2.0
"""Read a recording of any length window by window."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .audio_checks_mser import SampleCheck
from .audio_mser import MAX_SECONDS, SAMPLING_RATE, AudioError, cut_windows, open_audio, resampled, resampler


class Window(NamedTuple):
    """A part of a recording, or all of it."""

    waveform: np.ndarray  # `(num_samples,)` float32 at the requested rate
    start: float  # seconds
    end: float
    part: bool = False  # whether the recording is longer than this window


@dataclass(frozen=True)
class Recording:
    """
    A recording that was read completely and is valid.

    Attributes:
        source: in any form of `load_audio` that can be read again.
        sampling_rate: of the windows, in Hz.
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
        Divide the recording evenly into the fewest windows of at most `window_seconds`, without those of zeros only.

        Raises:
            AudioError: a long recording changed after it was read.
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
        """Yield the windows of `cut_windows` with one window in memory."""
        count = math.ceil(self.num_samples / max(1, int(window_seconds * self.sampling_rate)))
        length, longer = divmod(self.num_samples, count)
        lengths = iter([length + 1] * longer + [length] * (count - longer))
        wanted, buffer, name = next(lengths), np.zeros(0, np.float32), ""
        for name, block in _resampled(self.source, self.sampling_rate):  # noqa: B007 - used in the error
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
    max_samples_in_memory: int = 600 * SAMPLING_RATE,
    max_recording_seconds: float | None = None,
) -> Recording:
    """
    Read a recording of any length completely and check it like `load_audio`.

    Args:
        source, sampling_rate: as in `load_audio`.
        max_samples_in_memory: longer recordings are read window by window (by default 38 MB of float32).
        max_recording_seconds: maximum length; checked before decoding if the header gives the length.

    Raises:
        AudioTooLongError, AudioError, ImportError: as in `load_audio`.
    """
    if hasattr(source, "read"):
        source = {"bytes": source.read(), "path": str(getattr(source, "name", "<file object>"))}
    blocks: list[np.ndarray] | None = []
    with open_audio(source, sampling_rate, max_recording_seconds) as sound:
        check = SampleCheck(sound.name, sound.rate)
        for block in sound.blocks:
            check.add(block)
            if blocks is not None:
                blocks.append(block)
            if check.samples > max_samples_in_memory:
                blocks = None
        check.finish()
        if blocks is None:
            total = (2 * check.samples * sampling_rate + sound.rate) // (2 * sound.rate)  # rounded like soxr
            return Recording(source, sampling_rate, total, None)
        waveform = resampled(sound.name, np.concatenate(blocks), sound.rate, sampling_rate)
    return Recording(source, sampling_rate, len(waveform), waveform)


def sliding_windows(
    source: Any,
    window_seconds: float,
    overlap_seconds: float,
    single_window_seconds: float = 0.0,
    sampling_rate: int = SAMPLING_RATE,
    max_recording_seconds: float | None = None,
) -> Iterator[Window]:
    """
    Yield windows of equal length, without keeping the complete recording in memory.

    The last window ends with the recording and overlaps its neighbor more, so that it is not shorter. A recording
    shorter than a window is one window. Windows in which every sample is 0 are skipped: a model would guess on them.

    A recording up to `single_window_seconds` is one window, too. Other arguments are those of `read_recording`.

    Raises:
        AudioTooLongError, AudioError: as in `read_recording`. An error that is known only at the end, such as silence,
            is raised after the windows.
    """
    if not 0 <= overlap_seconds < window_seconds:
        raise ValueError(
            f"overlap_seconds is {overlap_seconds:g}; pass at least 0 and less than window_seconds, {window_seconds:g}"
        )
    size, hop = int(window_seconds * sampling_rate), max(1, int((window_seconds - overlap_seconds) * sampling_rate))
    uncut = max(size, int(single_window_seconds * sampling_rate))
    begin = upcoming = 0  # start of the buffer and of the next window, in samples
    buffer = np.zeros(0, np.float32)
    cut = False
    for _, block in _resampled(source, sampling_rate, max_recording_seconds):
        buffer = np.concatenate([buffer, block])
        cut = cut or len(buffer) > uncut
        # More than one window, because the last one is placed differently.
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
    """Yield the name and each block of a recording at `sampling_rate`."""
    with open_audio(source, sampling_rate, max_seconds) as sound:
        stream = None
        if sound.rate != sampling_rate:
            stream = resampler(sound.name, sound.rate).ResampleStream(sound.rate, sampling_rate, 1, dtype="float32")
        check = SampleCheck(sound.name, sound.rate)
        for block in sound.blocks:
            check.add(block)
            check.check_values()
            yield sound.name, block if stream is None else stream.resample_chunk(block)
        check.finish()
        if stream is not None:
            yield sound.name, stream.resample_chunk(np.zeros(0, np.float32), last=True)
