# SPDX-License-Identifier: Apache-2.0
"""Create the executor of a build, with the options of its section of the recipe."""

import difflib
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datatrove.executor.base import PipelineExecutor
from datatrove.executor.slurm import SlurmPipelineExecutor
from datatrove.pipeline.base import PipelineStep

from mser_llm.io.errors import InputError
from mser_llm.m5ser.build_config import BuildConfig
from mser_llm.m5ser.local_executor import BuildExecutor
from mser_llm.m5ser.ray_executor import RayExecutor, require_ray
from mser_llm.m5ser.shards import Shard
from mser_llm.m5ser.slurm_executor import SlurmExecutor, require_slurm


# Arguments that the build sets.
_RESERVED = ("pipeline", "tasks", "workers", "logging_dir", "skip_completed", "depends", "depends_job_id")


def executor_options(config: BuildConfig) -> dict[str, Any]:
    """Return the recipe's section of the chosen executor, checked against the arguments of its class.

    Raises:
        InputError: an unknown option, or a required one is missing.
    """
    if config.executor == "local":
        return {}
    if config.executor == "slurm":
        stock, options = SlurmPipelineExecutor, config.slurm
    else:
        stock, options = RayExecutor, config.ray
    parameters = {key: one for key, one in inspect.signature(stock).parameters.items() if key not in _RESERVED}
    for key in options:
        if key not in parameters:
            nearest = difflib.get_close_matches(key, list(parameters), n=1, cutoff=0.0)
            raise InputError(
                f"{config.executor}.{key}", f"{stock.__name__} has no such option", f"the closest is {nearest[0]!r}"
            )
    for key, one in parameters.items():
        if one.default is inspect.Parameter.empty and key not in options:
            raise InputError(
                f"{config.executor}.{key}", f"{stock.__name__} needs it", "add it to that section of the recipe"
            )
    return dict(options)


def require_executor(config: BuildConfig) -> None:
    """Check that the executor and its options can be used, before anything else runs."""
    executor_options(config)
    if config.executor == "slurm":
        require_slurm()
    elif config.executor == "ray":
        require_ray()


def create_executor(config: BuildConfig, pipeline: Sequence[PipelineStep], tasks: int, logs: Path) -> PipelineExecutor:
    """Create the executor of a build. It runs the ranks without a marker in `logs/completions`."""
    options: dict[str, Any] = {
        **executor_options(config),
        "pipeline": list(pipeline),
        "tasks": tasks,
        "workers": config.workers,
        "logging_dir": str(logs),
    }
    if config.executor == "slurm":
        return SlurmExecutor(**options)
    if config.executor == "ray":
        return RayExecutor(**options)
    return BuildExecutor(devices=config.devices, log_folder=logs / "workers", **options)


def mark_complete_shards(shards: Sequence[Shard], build: str, logs: Path) -> list[int]:
    """Make datatrove's completion markers agree with the shards, and return the ranks of incomplete shards.

    A marker alone proves nothing: it may outlive its shard, or its worker may have been killed before writing it.
    """
    completions = logs / "completions"
    completions.mkdir(parents=True, exist_ok=True)
    missing = []
    for rank, shard in enumerate(shards):
        marker = completions / f"{rank:05d}"
        if shard.is_complete(build):
            marker.touch()
        else:
            marker.unlink(missing_ok=True)
            missing.append(rank)
    return missing
