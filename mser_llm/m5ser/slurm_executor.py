# SPDX-License-Identifier: Apache-2.0
"""datatrove's Slurm executor, with jobs that find this environment and without a job that waits forever."""

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from datatrove.executor.slurm import SlurmPipelineExecutor


class SlurmExecutor(SlurmPipelineExecutor):
    """Submit ranks as a job array. Takes the arguments of `SlurmPipelineExecutor`.

    Without `env_command`, `condaenv` or `venv_path`, jobs run in the environment that submitted them, whether it is
    activated or not, and from a checkout that is not installed.
    """

    def __init__(self, **options: Any):
        if not any(options.get(name) for name in ("env_command", "condaenv", "venv_path")):
            options["env_command"] = this_environment()
        super().__init__(**options)

    def launch_job(self) -> None:
        """Submit the jobs.

        Raises:
            OSError: `sbatch` rejected them; its own message is on standard error.
        """
        try:
            super().launch_job()
        except subprocess.CalledProcessError as error:
            raise OSError(
                f"sbatch rejected the job (exit status {error.returncode}; its message is above); correct the "
                f"recipe's section slurm. The job script is {self.logging_dir.resolve_paths('launch_script.slurm')}"
            ) from error

    def launch_merge_stats(self) -> None:
        """Submit no such job: the manifest has the numbers, and it would wait forever if a job before it failed."""


def this_environment() -> str:
    """Return shell commands that put this interpreter's programs and this project on the path."""
    programs = shlex.quote(str(Path(sys.executable).parent))
    command = f"export PATH={programs}:$PATH"
    project = str(Path(__file__).resolve().parents[2])
    if project not in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        command += f"; export PYTHONPATH={shlex.quote(project)}${{PYTHONPATH:+:$PYTHONPATH}}"
    return command


def require_slurm() -> None:
    """Raise a FileNotFoundError with the fix if `sbatch` is not on PATH."""
    if shutil.which("sbatch") is None:
        raise FileNotFoundError(
            "the executor 'slurm' needs sbatch, which is not on PATH; run the command on a login node of the cluster "
            f"(PATH is {os.environ.get('PATH', '')})"
        )
