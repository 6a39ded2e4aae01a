# SPDX-License-Identifier: Apache-2.0
"""A script that is run again and again, each time in a process of its own that has its imports behind it.

Importing PyTorch and transformers takes longer than what most of the tests' scripts then do. One process imports what
the script imports and computes nothing; every run is a fork of it, and as mortal as any other process.
"""

import json
import os
import runpy
import select
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from free_port import free_port


class WarmScript:
    """Runs of one script; a context manager.

    Args:
        script: does its work under `if __name__ == "__main__"` and its imports outside.
        environment: variables of its runs, beside those of this process.
    """

    def __init__(self, script: Path, environment: Mapping[str, str] | None = None):
        self.script, self.environment = script, dict(environment or {})

    def __enter__(self) -> "WarmScript":
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(self.script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env=os.environ | self.environment,
        )
        return self

    def __exit__(self, *_: Any) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def run(
        self, *words: str, environment: Mapping[str, str] | None = None, timeout: float = 300
    ) -> subprocess.CompletedProcess:
        """As `subprocess.run` of the script with these words and further variables, its output captured as text."""
        with TemporaryDirectory() as folder:
            files = [os.path.join(folder, name) for name in ("stdout", "stderr")]
            self.process.stdin.write(json.dumps([words, files, dict(environment or {})]).encode() + b"\n")
            self.process.stdin.flush()
            ready, _, _ = select.select([self.process.stdout], [], [], timeout)
            if not ready:
                os.killpg(self.process.pid, 9)
                raise subprocess.TimeoutExpired([str(self.script), *words], timeout)
            answer = self.process.stdout.readline()
            assert answer, f"{self.script} could not be imported"
            return subprocess.CompletedProcess(words, json.loads(answer), *(Path(file).read_text() for file in files))


class WarmProcesses:
    """Runs of one script in two processes that meet over gloo, as torchrun starts them; a context manager.

    Args:
        script: as of `WarmScript`.
        environment: as of `WarmScript`; what a launcher tells each process beside its rank.
    """

    def __init__(self, script: Path, environment: Mapping[str, str] | None = None):
        told = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"} | dict(environment or {})
        self.ranks = [WarmScript(script, told | {"RANK": rank, "LOCAL_RANK": rank}) for rank in ("0", "1")]

    def __enter__(self) -> "WarmProcesses":
        with ExitStack() as started:
            for rank in self.ranks:
                started.enter_context(rank)
            self.started = started.pop_all()
        return self

    def __exit__(self, *_: Any) -> None:
        self.started.close()

    def run(self, *words: str) -> subprocess.CompletedProcess:
        """One run of the script in both; its exit status is that of the first to fail, and its output that of both."""
        meeting = {"MASTER_PORT": free_port()}
        with ThreadPoolExecutor(len(self.ranks)) as pool:
            ended = list(pool.map(lambda rank: rank.run(*words, environment=meeting), self.ranks))
        status = next((one.returncode for one in ended if one.returncode), 0)
        stdout, stderr = ("".join(getattr(one, name) for one in ended) for name in ("stdout", "stderr"))
        return subprocess.CompletedProcess(words, status, stdout, stderr)


def _serve(script: str) -> None:
    """Reads runs from standard input, one JSON line each, and answers each with its exit status."""
    # In place of the folder of this file, whose folders of tests would hide the packages that they are named after.
    sys.path[0] = os.path.dirname(script)
    runpy.run_path(script, run_name="imported")
    while line := sys.stdin.buffer.readline():
        words, files, variables = json.loads(line)
        child = os.fork()
        if child == 0:
            for descriptor, file in enumerate(files, start=1):
                os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), descriptor)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.environ.update(variables)
            sys.argv = [script, *words]
            runpy.run_path(script, run_name="__main__")
            return
        _, status = os.waitpid(child, 0)
        os.write(1, b"%d\n" % os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    _serve(sys.argv[1])
