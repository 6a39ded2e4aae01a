# SPDX-License-Identifier: Apache-2.0
"""Run scripts in forks of a process that has imported the libraries already.

Importing PyTorch and transformers takes longer than most scripts of the tests. One process imports them and computes
nothing. Every run is a fork of it and can be killed like any process.
"""

import gc
import importlib
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from free_port import free_port


ROOT = Path(__file__).resolve().parents[1]
IMPORTED = (
    "run_mser",
    "mser_llm.cli.train",
    "mser_llm.training.run_training",
    "mser_llm.inference.recognition",
    "peft",
)


class WarmPython:
    """Run scripts in forks of one process. A context manager.

    Args:
        environment: variables for the import of the libraries, in addition to those of this process.
    """

    def __init__(self, environment: Mapping[str, str] | None = None):
        self.environment = dict(environment or {})

    def __enter__(self) -> "WarmPython":
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            env=os.environ | self.environment,
        )
        return self

    def __exit__(self, *_: Any) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdin.close()

    def run(
        self, script: Path, *words: Any, environment: Mapping[str, str] | None = None, timeout: float = 300
    ) -> subprocess.CompletedProcess:
        """Run a script as `__main__` in the current folder, like `subprocess.run` with its output captured as text."""
        command = [str(script), *map(str, words)]
        with TemporaryDirectory() as folder:
            files = [os.path.join(folder, name) for name in ("stdout", "stderr", "status")]
            os.mkfifo(files[2])
            status = os.open(files[2], os.O_RDONLY | os.O_NONBLOCK)
            try:
                variables = {**os.environ, **self.environment, **(environment or {})}
                self.process.stdin.write(json.dumps([command, os.getcwd(), files, variables]).encode() + b"\n")
                self.process.stdin.flush()
                end = time.monotonic() + timeout
                while not select.select([status], [], [], 1.0)[0]:
                    assert self.process.poll() is None, "the libraries cannot be imported"
                    if time.monotonic() > end:
                        os.killpg(self.process.pid, signal.SIGKILL)
                        raise subprocess.TimeoutExpired(command, timeout)
                ended = int(os.read(status, 100))
            finally:
                os.close(status)
            return subprocess.CompletedProcess(command, ended, *(Path(file).read_text() for file in files[:2]))

    def run_twice(
        self, script: Path, *words: Any, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess:
        """Run a script in two processes that communicate over gloo, as torchrun starts them.

        The exit status is the first that is not zero; the output is that of both.
        """
        address = {
            "WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": free_port(),
            "OMP_NUM_THREADS": "1",
        }
        address |= environment or {}

        def of_rank(rank: str) -> subprocess.CompletedProcess:
            return self.run(script, *words, environment={**address, "RANK": rank, "LOCAL_RANK": rank})

        with ThreadPoolExecutor(2) as pool:
            ended = list(pool.map(of_rank, ("0", "1")))
        status = next((one.returncode for one in ended if one.returncode), 0)
        stdout, stderr = ("".join(getattr(one, name) for one in ended) for name in ("stdout", "stderr"))
        return subprocess.CompletedProcess(words, status, stdout, stderr)


def _serve() -> None:
    """Read runs from standard input, one JSON line each. Return in the forked process of each run."""
    # Replace the folder of this file, where folders of tests have the names of packages.
    sys.path[0] = str(ROOT)
    # Imported modules are never garbage: exclude them from collection.
    gc.disable()
    for module in IMPORTED:
        importlib.import_module(module)
    gc.freeze()
    gc.enable()
    # The intermediate process waits for its run; nothing waits for intermediate processes.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    # Unbuffered, so that no fork inherits the next lines.
    while line := sys.stdin.buffer.raw.readline():
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            words, folder, files, variables = json.loads(line)
            run = os.fork()
            if run == 0:
                return _become(words, folder, files[:2], variables)
            _, status = os.waitpid(run, 0)
            with open(files[2], "w", encoding="ascii") as file:
                file.write(str(os.waitstatus_to_exitcode(status)))
            os._exit(0)
    sys.exit()


def _become(words: list[str], folder: str, files: list[str], variables: dict[str, str]) -> None:
    """Set up this process like `python WORDS` in that folder and environment."""
    os.chdir(folder)
    for descriptor, file in enumerate([os.devnull, *files]):
        os.dup2(os.open(file, os.O_RDWR | os.O_CREAT), descriptor)
    os.environ.clear()
    os.environ.update(variables)
    sys.path[:1] = [os.path.dirname(words[0]), *filter(None, variables.get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv = words
    if "OMP_NUM_THREADS" in variables:  # PyTorch has read it already
        torch.set_num_threads(int(variables["OMP_NUM_THREADS"]))


if __name__ == "__main__":
    _serve()
    runpy.run_path(sys.argv[0], run_name="__main__")
