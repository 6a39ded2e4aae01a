# SPDX-License-Identifier: Apache-2.0
"""Errors of unusable audio, and checks of decoded samples: enough of them, finite, in scale, not all zero."""

from typing import NamedTuple

import numpy as np


MIN_SECONDS = 0.1
MAX_AMPLITUDE = 256.0
"""48 dB over full scale. Recordings in [-1, 1] stay below; integers that were not divided by their range do not."""


class AudioError(ValueError):
    """Audio that cannot be used. `str()` is one line: `SOURCE: PROBLEM; FIX`.

    Args:
        source: the file, or a placeholder such as `<bytes>`.
        problem: what is wrong, with the value.
        fix: what to do.
    """

    def __init__(self, source: str, problem: str, fix: str) -> None:
        super().__init__(source, problem, fix)  # all three in `args`, so that the error can be pickled
        self.source, self.problem, self.fix = source, problem, fix

    def __str__(self) -> str:
        # A file name may contain a line break, or bytes that no terminal can print.
        text = f"{self.source}: {self.problem}; {self.fix}"
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class AudioTooLongError(AudioError):
    """Audio longer than the caller's `max_seconds`, or too long for the memory."""


class Problem(NamedTuple):
    """What is wrong with a file and what to do; `{file}` in the fix is replaced by the quoted file name."""

    problem: str
    fix: str


def damaged(detail: str) -> Problem:
    return Problem(f"is damaged or cut short ({detail})", "copy or export it again")


class SampleCheck:
    """Check a recording of a rate in Hz block by block; its name is for errors."""

    def __init__(self, name: str, rate: int) -> None:
        self.name, self.rate = name, rate
        self.samples = self._not_finite = 0
        self._peak = 0.0

    def add(self, block: np.ndarray) -> None:
        """Add the next samples `(num_samples,)`."""
        if not len(block):
            return
        self.samples += len(block)
        peak = max(float(block.max()), -float(block.min()))
        if not np.isfinite(peak):
            self._not_finite += len(block) - int(np.isfinite(block).sum())
        self._peak = max(self._peak, peak)

    def finish(self) -> None:
        """
        Check the complete recording.

        Raises:
            AudioError: the recording is empty, too short, not finite, out of scale or silent.
        """
        if self.samples == 0:
            raise AudioError(self.name, "contains no sound (0 samples)", "record or export it again")
        if self.samples < MIN_SECONDS * self.rate:
            problem = f"is too short ({self.samples / self.rate:.3f} s, minimum {MIN_SECONDS} s)"
            raise AudioError(self.name, problem, "leave it out or use a longer recording")
        self.check_values()
        if self._peak == 0:
            fix = "record it again; if two channels cancel, keep one"
            raise AudioError(self.name, "is silent (every sample is 0)", fix)

    def check_values(self) -> None:
        """
        Check the samples so far.

        Raises:
            AudioError: a sample is not finite or out of scale.
        """
        if self._not_finite:
            problem = f"has NaN or infinite samples ({self._not_finite} of {self.samples})"
            raise AudioError(self.name, problem, "export it again")
        if self._peak > MAX_AMPLITUDE:
            problem = f"has samples far outside [-1, 1] (up to {self._peak:.6g})"
            raise AudioError(self.name, problem, "divide them by their full scale, 32768 for 16-bit integers")


def flac_bytes(block: np.ndarray, width: int) -> bytes:
    """Return int32 samples `(num_samples, num_channels)` as a FLAC header's MD5 hashes them: their upper bytes."""
    octets = np.ascontiguousarray(block, "<i4").view(np.uint8).reshape(-1, 4)
    return octets[:, 4 - width :].tobytes()
