# SPDX-License-Identifier: Apache-2.0
"""The private API of datatrove that a build uses; `test_executors.py` reports when a version changes it."""

from pathlib import Path

from datatrove.executor.base import PipelineExecutor
from datatrove.utils.stats import Stats

from mser_llm.io.disk_errors import explain_disk_full
from mser_llm.m5ser.errors import RUN_AGAIN


def run_rank(executor: PipelineExecutor, rank: int, number: int, log_folder: Path) -> Exception | None:
    """Build one shard in this process.

    `_run_for_rank` is private. datatrove's public `run` copies the pipeline for every rank, which would start the
    translator again for every shard.

    Returns:
        None, or the error: an OSError, ValueError or ImportError as it was raised, anything else as a RuntimeError.
    """
    for step in executor.pipeline:
        step.stats = Stats(str(step))
    try:
        with explain_disk_full(log_folder, f"make room there and {RUN_AGAIN}"):
            executor._run_for_rank(rank, number)
        return None
    except (OSError, ValueError, ImportError) as error:
        return error
    except Exception as error:
        # The stack trace is in the log of the rank.
        return RuntimeError(f"rank {rank}: {type(error).__name__}: {error}; see {log_folder}")
