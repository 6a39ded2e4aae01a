# SPDX-License-Identifier: Apache-2.0
"""Start a one-node Slurm cluster or a local Ray cluster in a temporary folder, for the duration of a test."""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from free_port import free_port


SLURM_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
SLURM_CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=1,batch_sched_delay=0,sched_min_interval=0
ReturnToService=2
KillWait=1
NodeName=one NodeHostname={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=4096
PartitionName=cpu Nodes=one Default=YES MaxTime=INFINITE State=UP
"""


@contextmanager
def one_node_slurm() -> Iterator[dict[str, str]]:
    """Yield the environment variables of a cluster with the partition `cpu`; skip the test without Slurm."""
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
    programs = {name: shutil.which(name, path=path) for name in SLURM_PROGRAMS}
    missing = [name for name, program in programs.items() if program is None]
    if missing:
        pytest.skip(f"Slurm is not installed (no {missing[0]}): apt-get install slurm-wlm munge")
    # A short path, because socket names are limited; readable by all, as munged requires.
    with TemporaryDirectory(prefix="slurm-", dir="/tmp") as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        key = folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        for part in ("state", "spool"):
            (folder / part).mkdir()
        conf = folder / "slurm.conf"
        settings = {"host": socket.gethostname().split(".")[0], "user": pwd.getpwuid(os.getuid()).pw_name}
        ports = {"controller_port": free_port(), "node_port": free_port()}
        conf.write_text(SLURM_CONF.format(folder=folder, cpus=os.cpu_count(), **settings, **ports), encoding="ascii")
        environment = {"SLURM_CONF": str(conf), "PATH": path}

        files = {"key": "key-file", "socket": "socket", "pid": "pid-file", "log": "log-file", "seed": "seed-file"}
        munge = [f"--{option}={folder}/munge.{end}" for end, option in files.items()]
        stack.enter_context(_daemon([programs["munged"], "--foreground", *munge], folder, environment))
        _wait_until(lambda: (folder / "munge.socket").exists(), folder)
        stack.enter_context(_daemon([programs["slurmctld"], "-D", "-f", str(conf)], folder, environment))
        stack.enter_context(_daemon([programs["slurmd"], "-D", "-f", str(conf), "-N", "one"], folder, environment))
        _wait_until(lambda: "idle" in _output(["sinfo", "-h", "-o", "%T"], environment), folder)
        try:
            yield environment
        finally:
            _output(["scancel", "--signal=KILL", "--full", "--partition=cpu"], environment)
            _output(["scancel", "--partition=cpu"], environment)
            _wait_until(lambda: not jobs(environment), folder)


def jobs(environment: Mapping[str, str]) -> list[str]:
    """List waiting and running jobs, with the reason why they wait."""
    return _output(["squeue", "-h", "-r", "-o", "%i %T %r"], environment).splitlines()


@contextmanager
def local_ray() -> Iterator[dict[str, str]]:
    """Yield the environment variables of a Ray cluster of two CPUs; skip the test without Ray."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'mser-llm[ray]'")
    program = Path(sys.executable).parent / "ray"
    with TemporaryDirectory(prefix="ray-", dir="/tmp") as name:
        folder, port = Path(name), free_port()
        address = f"127.0.0.1:{port}"
        # `ray start --head`, restricted to this machine and this folder, in a process that can be terminated.
        options = ["--block", "--node-ip-address=127.0.0.1", f"--port={port}", f"--temp-dir={folder}/t"]
        options += ["--num-cpus=2", "--memory=6000000000", "--object-store-memory=80000000"]
        options += ["--include-dashboard=false", "--disable-usage-stats"]
        # Without the token nobody can run code there, on whatever interface Ray listens.
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        with _daemon([str(program), "start", "--head", *options], folder, token):
            _wait_until(lambda: "Ray runtime started" in _logs(folder), folder)
            yield {"RAY_ADDRESS": address, **token}


@contextmanager
def _daemon(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Iterator[subprocess.Popen]:
    """Run a process that logs into the folder, and terminate it at the end of the block."""
    log = folder / f"{Path(command[0]).name}.log"
    with open(log, "wb") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=file, env={**os.environ, **environment}, start_new_session=True
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _output(command: Sequence[str], environment: Mapping[str, str]) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=30, env={**os.environ, **environment}
    )
    return done.stdout


def _wait_until(true: Callable[[], bool], folder: Path, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, _logs(folder)
        time.sleep(0.1)


def _logs(folder: Path) -> str:
    return "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in sorted(folder.glob("*.log")))
