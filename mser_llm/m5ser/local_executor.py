# SPDX-License-Identifier: Apache-2.0
"""datatrove's local executor with workers that die with their parent, and whose death is noticed.

datatrove runs its ranks in a pool whose workers write on after their parent was killed, and which waits for ever for a
rank whose worker was killed. Here each worker is a process that asks to be killed with its parent, stays up from rank
to rank (a translator takes its time to start), keeps to its share of the processors, and is watched.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from datatrove.executor.local import LocalPipelineExecutor

from mser_llm.m5ser.ranks import WorkerDiedError, close_translators, run_rank
from mser_llm.m5ser.translating import Translate
from mser_llm.m5ser.translators.frames import die_with_parent


class BuildExecutor(LocalPipelineExecutor):
    """Runs ranks on this machine.

    Args:
        devices: worker `i` translates on device `i`, counted round.
        log_folder: of what workers and translators say.
        **kwargs: as for `LocalPipelineExecutor`.
    """

    def __init__(self, *, devices: Sequence[str], log_folder: Path, **kwargs: Any):
        super().__init__(**kwargs)
        self.devices, self.log_folder = list(devices), log_folder

    def run(self) -> None:
        """Build the ranks that are not marked complete.

        Raises:
            WorkerDiedError: a worker was killed.
            OSError, ValueError, ImportError: the first error of a worker; the others are stopped with it.
        """
        ranks = self.get_incomplete_ranks()
        if not ranks:
            return
        self.save_executor_as_json()
        self.log_folder.mkdir(parents=True, exist_ok=True)
        # A spawned process is its parent's own child, and inherits no thread of torch's.
        context = multiprocessing.get_context("spawn")
        workers: dict[Connection, Any] = {}
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

    def _death(self, process: Any, rank: int) -> WorkerDiedError:
        process.join(timeout=10)
        code = process.exitcode
        how = f"was killed (signal {-code})" if code is not None and code < 0 else f"ended (exit status {code})"
        why = ", perhaps for want of memory" if code == -signal.SIGKILL else ""
        return WorkerDiedError(
            f"{self.log_folder}: the worker on rank {rank} {how}{why}; see the logs there and run the same command "
            "again: finished shards stay"
        )


def work(executor: BuildExecutor, number: int, workers: int, connection: Connection, parent: int) -> None:
    """The life of a worker: a rank in, None or an error out, until the connection closes."""
    die_with_parent(parent)
    keep_to_share(number, workers)
    # The terminal is the progress bar's. This takes datatrove's lines and whatever a translator's libraries print.
    with open(executor.log_folder / f"worker_{number:05d}.log", "ab") as log:
        os.dup2(log.fileno(), sys.stdout.fileno() if sys.stdout else 1)
        os.dup2(log.fileno(), sys.stderr.fileno() if sys.stderr else 2)
    steps = list(executor.pipeline)
    for step in steps:
        if isinstance(step, Translate):
            step.device = executor.devices[number % len(executor.devices)]
    try:
        while True:
            try:
                rank = connection.recv()
            except EOFError:
                return
            connection.send(run_rank(executor, rank, number, executor.log_folder))
    finally:
        close_translators(steps)


def keep_to_share(number: int, workers: int) -> None:
    """Keep this process, and what it starts, to its share of the processors that it may use.

    Praat and torch start a thread for every processor they may use: with several workers on one machine these would
    crowd each other out. Nothing changes where there are more workers than processors, or where the system has no
    such thing.

    Args:
        number: of the worker, from 0.
        workers: how many there are.
    """
    if not hasattr(os, "sched_setaffinity"):
        return
    allowed = sorted(os.sched_getaffinity(0))
    if workers <= len(allowed):
        first, end = (len(allowed) * n // workers for n in (number, number + 1))
        os.sched_setaffinity(0, allowed[first:end])
