# SPDX-License-Identifier: Apache-2.0
"""How many processes were asked for, beside how many there are."""

from collections.abc import Mapping


# What launchers tell their processes: torchrun, Open MPI, MPICH and Intel MPI, Slurm's srun.
_NUMBERS = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS")


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
