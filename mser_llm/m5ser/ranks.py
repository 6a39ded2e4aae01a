# SPDX-License-Identifier: Apache-2.0
"""Run one rank of a build in a worker process, whichever executor started the worker."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from datatrove.executor.base import PipelineExecutor
from datatrove.utils.stats import Stats

from mser_llm.m5ser.translating import Translate
from mser_llm.m5ser.writing import full_disk_explained


class WorkerDiedError(OSError):
    """A worker was killed from outside; the message is one line with the fix."""


def run_rank(executor: PipelineExecutor, rank: int, number: int, log_folder: Path) -> Exception | None:
    """Build one shard.

    Args:
        executor: its pipeline is run.
        rank: of the shard.
        number: of the worker, for the log.
        log_folder: named in the message of an unexpected error.

    Returns:
        None, or the error: an OSError, ValueError or ImportError as it was raised, anything else as a RuntimeError.
    """
    for step in executor.pipeline:
        step.stats = Stats(str(step))
    try:
        with full_disk_explained(log_folder):
            executor._run_for_rank(rank, number)
        return None
    except (OSError, ValueError, ImportError) as error:
        return error
    except Exception as error:
        # The stack is in the rank's log.
        return RuntimeError(f"rank {rank}: {type(error).__name__}: {error}; see {log_folder}")


def close_translators(steps: Iterable[Any]) -> None:
    """End the translators that a worker kept between its ranks."""
    for step in steps:
        if isinstance(step, Translate):
            step.close()
