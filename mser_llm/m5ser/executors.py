# SPDX-License-Identifier: Apache-2.0
"""Which executor runs a build, with the options that the configuration's section of that name gives it."""

import difflib
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datatrove.executor.base import PipelineExecutor
from datatrove.executor.slurm import SlurmPipelineExecutor
from datatrove.pipeline.base import PipelineStep

from mser_llm.m5ser.build_config import BuildConfig
from mser_llm.m5ser.local_executor import BuildExecutor
from mser_llm.m5ser.ray_executor import RayExecutor, require_ray
from mser_llm.m5ser.shards import Shard
from mser_llm.m5ser.slurm_executor import SlurmExecutor, require_slurm


# What the build decides itself.
_OURS = ("self", "pipeline", "tasks", "workers", "logging_dir", "skip_completed", "depends", "depends_job_id")


def executor_options(config: BuildConfig) -> dict[str, Any]:
    """The section of the configuration's executor, checked against what its class takes.

    Raises:
        ValueError: an option that it does not have, or none for one that it needs.
    """
    if config.executor == "local":
        return {}
    stock, options = {"slurm": (SlurmPipelineExecutor, config.slurm), "ray": (RayExecutor, config.ray)}[
        config.executor
    ]
    parameters = {key: one for key, one in inspect.signature(stock.__init__).parameters.items() if key not in _OURS}
    for key in options:
        if key not in parameters:
            near = difflib.get_close_matches(key, list(parameters), n=1, cutoff=0.0)
            raise ValueError(f"{config.executor}: {stock.__name__} has no option {key!r}; the nearest is {near[0]!r}")
    for key, one in parameters.items():
        if one.default is inspect.Parameter.empty and key not in options:
            raise ValueError(f"{config.executor}: {stock.__name__} needs {key}; add it to that section of the recipe")
    return dict(options)


def require_executor(config: BuildConfig) -> None:
    """Check that the executor can start, and its options, before anything else is done.

    Raises:
        ImportError: Ray is not installed.
        FileNotFoundError: `sbatch` is not on PATH.
        ValueError: as for [`executor_options`].
    """
    executor_options(config)
    if config.executor == "slurm":
        require_slurm()
    elif config.executor == "ray":
        require_ray()


def make_executor(config: BuildConfig, pipeline: Sequence[PipelineStep], tasks: int, logs: Path) -> PipelineExecutor:
    """The executor of a build; it runs the ranks that have no marker in `logs/completions`."""
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


def mark_whole_shards(shards: Sequence[Shard], build: str, logs: Path) -> list[int]:
    """Makes datatrove's markers say what the shards say, and returns the ranks whose shards are not whole.

    A marker alone proves nothing: it may outlive its shard, and a worker may have been killed between the two.
    """
    completions = logs / "completions"
    completions.mkdir(parents=True, exist_ok=True)
    missing = []
    for rank, shard in enumerate(shards):
        marker = completions / f"{rank:05d}"
        if shard.is_whole(build):
            marker.touch()
        else:
            marker.unlink(missing_ok=True)
            missing.append(rank)
    return missing
