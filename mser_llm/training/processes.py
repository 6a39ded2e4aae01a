# SPDX-License-Identifier: Apache-2.0
"""Processes that train together: how many were asked for beside how many there are, and how they part."""

import time
from collections.abc import Mapping

from torch import distributed


# What launchers tell their processes: torchrun, Open MPI, MPICH and Intel MPI, Slurm's srun.
_NUMBERS = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS")
# Seconds in which gloo's threads let go of what they sent last; 0.2 s sufficed on two processors with four processes.
_PARTING = 0.5


def missing_processes(environment: Mapping[str, str], running: int) -> str | None:
    """
    A line to warn with where fewer processes train together than were asked for; `None` where all do.

    `accelerate launch --cpu --num_processes 2` starts one process and says nothing. It leaves a trace: the address at
    which processes are to meet is set, and how many there are is not.

    Args:
        environment: as of `os.environ`.
        running: processes that train together.
    """
    numbers = [int(environment[name]) for name in _NUMBERS if environment.get(name, "").isdecimal()]
    asked = max(numbers, default=1)
    alone = "WORLD_SIZE" not in environment and {"ACCELERATE_MIXED_PRECISION", "MASTER_ADDR"} <= environment.keys()
    if asked <= running and not (alone and running == 1):
        return None
    wanted = str(asked) if asked > running else "several"
    return (
        f"{wanted} processes were asked for, and {running} is training; start them with "
        f"`torchrun --nproc_per_node {asked if asked > running else 'N'} -m run_mser train …` or "
        "`accelerate launch --config_file configs/accelerate/ddp.yaml --num_processes N …`"
    )


def leave_process_group() -> None:
    """
    Ends the group of processes that trained together; call it after the last exchange. Without a group it does
    nothing.

    Without it a process now and then aborts at its end ("terminate called without an active exception"), and the
    launcher takes a finished training for a failed one: a thread of gloo that still holds the tensors of the last
    exchange wants the interpreter to free them, while the interpreter is being taken down
    (https://github.com/pytorch/pytorch/pull/179291). Ending the group does not end those threads where a model was
    wrapped for data-parallel training, so they are also given time.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return
    alone = distributed.get_world_size() == 1
    distributed.destroy_process_group()
    if not alone:
        time.sleep(_PARTING)
