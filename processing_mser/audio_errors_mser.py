# SPDX-License-Identifier: Apache-2.0
"""The errors of audio that cannot be used."""


class AudioError(ValueError):
    """Audio that cannot be used. `str()` is one line, `FILE: problem (value); cure`.

    Args:
        source: the file, or what stands for it, such as `<bytes>`.
        problem: what is wrong, with the value.
        cure: what to do.
    """

    def __init__(self, source: str, problem: str, cure: str) -> None:
        super().__init__(source, problem, cure)  # all three in `args`: the error must survive a worker process
        self.source = source
        self.problem = problem
        self.cure = cure

    def __str__(self) -> str:
        # A file name may hold a line break, or bytes that no terminal can print.
        text = f"{self.source}: {self.problem}; {self.cure}"
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class AudioTooLongError(AudioError):
    """Audio over the caller's `max_seconds`, or too long to be held in memory."""


__all__ = ["AudioError", "AudioTooLongError"]
