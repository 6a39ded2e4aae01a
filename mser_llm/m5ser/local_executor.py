# SPDX-License-Identifier: Apache-2.0
"""Build on this machine, by workers that die with their parent and whose death is noticed.

The workers of datatrove's own pool outlive a killed parent, and the pool waits forever for a killed worker. Here each
worker is a process that keeps its translator from shard to shard, uses its share of the CPUs, and is watched.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from datatrove.executor.local import LocalPipelineExecutor

from mser_llm.m5ser.compat import run_rank
from mser_llm.m5ser.errors import RUN_AGAIN, WorkerDiedError
from mser_llm.m5ser.translating import Translate
from mser_llm.m5ser.translators.worker_process import die_with_parent


class BuildExecutor(LocalPipelineExecutor):
    """Run ranks on this machine. Worker `i` translates on device `i`, modulo their number."""

    def __init__(self, *, devices: Sequence[str], log_folder: Path, **kwargs: Any):
        super().__init__(**kwargs)
        self.devices, self.log_folder = list(devices), log_folder

    def run(self) -> None:
        """Build the ranks that are not marked complete.

        Raises:
            WorkerDiedError: a worker was killed.
            OSError, ValueError, ImportError: the first error of a worker; the others are stopped.
        """
        ranks = self.get_incomplete_ranks()
        if not ranks:
            return
        self.save_executor_as_json()
        self.log_folder.mkdir(parents=True, exist_ok=True)
        # A spawned process does not inherit torch's threads and locks.
        context = multiprocessing.get_context("spawn")
        workers: dict[Connection, SpawnProcess] = {}
        running: dict[Connection, int] = {}
        try:
            count = min(self.workers, len(ranks))
            for number in range(count):
                ours, theirs = context.Pipe()
                process = context.Process(target=work, args=(self, number, count, theirs, os.getpid()), daemon=False)
                process.start()
                theirs.close()
                workers[ours] = process
                running[ours] = ranks.pop(0)
                ours.send(running[ours])
            while running:
                for connection in wait(list(running)):
                    assert isinstance(connection, Connection)
                    rank = running.pop(connection)
                    try:
                        error = connection.recv()
                    except (EOFError, OSError):
                        raise self._death(workers[connection], rank) from None
                    if error is not None:
                        raise error
                    if ranks:
                        running[connection] = ranks.pop(0)
                        connection.send(running[connection])
        except BaseException:
            for process in workers.values():
                process.kill()
            raise
        finally:
            for connection, process in workers.items():
                connection.close()
                process.join()

    def _death(self, process: SpawnProcess, rank: int) -> WorkerDiedError:
        process.join(timeout=10)
        code = process.exitcode
        how = f"was killed (signal {-code})" if code is not None and code < 0 else f"ended (exit status {code})"
        why = ", perhaps for lack of memory" if code == -signal.SIGKILL else ""
        return WorkerDiedError(
            f"{self.log_folder}: the worker on rank {rank} {how}{why}; see the logs there and {RUN_AGAIN}"
        )


def work(executor: BuildExecutor, number: int, workers: int, connection: Connection, parent: int) -> None:
    """Run in a worker: receive ranks, send None or an error for each, until the connection closes."""
    die_with_parent(parent)
    limit_cpus(number, workers)
    # The terminal belongs to the progress bar.
    with open(executor.log_folder / f"worker_{number:05d}.log", "ab") as log:
        os.dup2(log.fileno(), sys.stdout.fileno() if sys.stdout else 1)
        os.dup2(log.fileno(), sys.stderr.fileno() if sys.stderr else 2)
    translate_steps = [step for step in executor.pipeline if isinstance(step, Translate)]
    for step in translate_steps:
        step.device = executor.devices[number % len(executor.devices)]
    try:
        with suppress(EOFError):
            while True:
                connection.send(run_rank(executor, connection.recv(), number, executor.log_folder))
    finally:
        for step in translate_steps:
            step.close()


def limit_cpus(number: int, workers: int) -> None:
    """Limit this process and its children to their share of the available CPUs.

    Praat and torch start a thread per available CPU, so several workers would slow each other down. Has no effect with
    more workers than CPUs, or on a system without CPU affinity.
    """
    if hasattr(os, "sched_setaffinity") and workers <= len(allowed := sorted(os.sched_getaffinity(0))):
        first, end = (len(allowed) * n // workers for n in (number, number + 1))
        os.sched_setaffinity(0, allowed[first:end])
