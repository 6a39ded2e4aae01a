# SPDX-License-Identifier: Apache-2.0
"""Errors that stop a build of M5SER. After each of them finished shards stay, and the same command resumes."""

from mser_llm.io.errors import InputError


RUN_AGAIN = "run the same command again: finished shards are kept"


class AnotherBuildError(InputError):
    """The output folder contains shards of another configuration."""


class SourceGoneError(OSError):
    """A source corpus has become unreachable."""


class WorkerDiedError(OSError):
    """A worker process was killed."""
