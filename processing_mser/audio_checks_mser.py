# SPDX-License-Identifier: Apache-2.0
"""Check the samples of a recording block by block: enough of them, finite, of a plausible scale, not all zero."""

import hashlib

import numpy as np


MIN_SECONDS = 0.1
MAX_AMPLITUDE = 256.0
"""48 dB over full scale: no recording in [-1, 1] gets there, and integers that were not divided by their range do."""


class AudioError(ValueError):
    """Audio that cannot be used. `str()` is one line, `FILE: problem (value); fix`.

    Args:
        source: the file, or what stands for it, such as `<bytes>`.
        problem: what is wrong, with the value.
        fix: what to do.
    """

    def __init__(self, source: str, problem: str, fix: str) -> None:
        super().__init__(source, problem, fix)  # all three in `args`: the error must survive a worker process
        self.source = source
        self.problem = problem
        self.fix = fix

    def __str__(self) -> str:
        # A file name may hold a line break, or bytes that no terminal can print.
        text = f"{self.source}: {self.problem}; {self.fix}"
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class AudioTooLongError(AudioError):
    """Audio over the caller's `max_seconds`, or too long to be held in memory."""


class SampleCheck:
    """
    What is known of the samples so far.

    Args:
        name: of the recording, for the errors.
        rate: Hz.
    """

    def __init__(self, name: str, rate: int) -> None:
        self.name, self.rate = name, rate
        self.samples = self._bad = 0
        self._peak = 0.0

    def add(self, block: np.ndarray) -> None:
        """Take note of the next samples `(num_samples,)`."""
        if not len(block):
            return
        self.samples += len(block)
        peak = max(float(block.max()), -float(block.min()))
        if not np.isfinite(peak):
            self._bad += len(block) - int(np.isfinite(block).sum())
        self._peak = max(self._peak, peak)

    def finish(self) -> None:
        """
        Raises:
            AudioError: the recording is empty, too short, not finite, on another scale, or silent.
        """
        if self.samples == 0:
            raise AudioError(self.name, "holds no sound (0 samples)", "record or export it again")
        if self.samples < MIN_SECONDS * self.rate:
            problem = f"is too short ({self.samples / self.rate:.3f} s, the least is {MIN_SECONDS} s)"
            raise AudioError(self.name, problem, "leave it out or give a longer recording")
        self.check_values()
        if self._peak == 0:
            fix = "record it again; if two channels cancel, keep one"
            raise AudioError(self.name, "is silent (every sample is 0)", fix)

    def check_values(self) -> None:
        """
        Raises:
            AudioError: of what was added so far, a sample is not finite, or on another scale.
        """
        if self._bad:
            problem = f"holds NaN or infinite samples ({self._bad} of {self.samples})"
            raise AudioError(self.name, problem, "export it again")
        if self._peak > MAX_AMPLITUDE:
            problem = f"holds samples far outside [-1, 1] (up to {self._peak:.6g})"
            raise AudioError(self.name, problem, "divide them by their full scale, 32768 for 16-bit integers")


class FlacDigest:
    """
    MD5 of the decoded samples of a FLAC file, to be compared with the one in its header.

    Args:
        sample_bytes: 1, 2 or 3, by the file's bit depth.
    """

    def __init__(self, sample_bytes: int) -> None:
        self._width, self._digest = sample_bytes, hashlib.md5(usedforsecurity=False)

    def add(self, block: np.ndarray) -> None:
        """Take the next samples `(num_samples, num_channels)`, int32 with the most significant bit at the top."""
        octets = np.ascontiguousarray(block, "<i4").view(np.uint8).reshape(-1, 4)
        self._digest.update(octets[:, 4 - self._width :].tobytes())

    def digest(self) -> bytes:
        return self._digest.digest()


__all__ = ["MAX_AMPLITUDE", "MIN_SECONDS", "AudioError", "AudioTooLongError", "FlacDigest", "SampleCheck"]
