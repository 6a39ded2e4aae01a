# SPDX-License-Identifier: Apache-2.0
"""Build on a Ray cluster, with actors that keep their translator and are restarted when they die.

datatrove's own Ray executor starts a process pool in a new actor for every shard. A pool waits forever for a process
that was killed, and every shard pays for the imports and for loading the translator. Here an actor builds shards in
its own process, one after another, and Ray restarts it, on another node if need be, when it dies.
"""

import logging
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from datatrove.executor.base import DistributedEnvVars, PipelineExecutor
from datatrove.pipeline.base import PipelineStep

from mser_llm.m5ser.compat import run_rank
from mser_llm.m5ser.errors import RUN_AGAIN, WorkerDiedError


RESTARTS = 3
"""How often Ray restarts a worker before the build ends with an error."""

_NO_CLUSTER = (
    "check RAY_ADDRESS and that the cluster runs (`ray status`). If it was started with an authentication token, set "
    "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"
)
_SECONDS_TO_CONNECT = 10.0


class RayExecutor(PipelineExecutor):
    """Run ranks on the Ray cluster at `RAY_ADDRESS`, on one that runs on this machine, or on a new one.

    Args:
        pipeline, tasks, workers, logging_dir: as for datatrove's executors; all nodes share the folder.
        cpus_per_task: CPUs of a worker.
        mem_per_cpu_gb: memory of a worker, in GB per CPU.
        gpus_per_task: GPUs of a worker.
        ray_remote_kwargs: further options of Ray's actors, such as `resources`.
    """

    def __init__(
        self,
        *,
        pipeline: Sequence[PipelineStep],
        tasks: int,
        workers: int,
        logging_dir: str,
        cpus_per_task: float = 1,
        mem_per_cpu_gb: float = 2,
        gpus_per_task: float = 0,
        ray_remote_kwargs: Mapping[str, Any] | None = None,
    ):
        super().__init__(list(pipeline), logging_dir)
        self.tasks, self.workers, self.log_folder = tasks, workers, Path(logging_dir)
        self.cpus_per_task, self.mem_per_cpu_gb, self.gpus_per_task = cpus_per_task, mem_per_cpu_gb, gpus_per_task
        self.ray_remote_kwargs = dict(ray_remote_kwargs or {})

    @property
    def world_size(self) -> int:
        return self.tasks

    def get_distributed_env(self, node_rank: int = -1) -> DistributedEnvVars:
        """Return the variables that datatrove sets in the environment of a rank."""
        return DistributedEnvVars(
            datatrove_node_ips="",
            datatrove_cpus_per_task=str(self.cpus_per_task),
            datatrove_mem_per_cpu=str(self.mem_per_cpu_gb),
            datatrove_gpus_on_node=str(self.gpus_per_task),
            datatrove_executor="RAY",
        )

    def run(self) -> None:
        """Build the ranks that are not marked complete.

        Raises:
            WorkerDiedError: a worker died after `RESTARTS` restarts.
            ConnectionError: no cluster at `RAY_ADDRESS`.
            OSError, ValueError, ImportError: the first error of a worker; the others are stopped.
        """
        ranks = self.get_incomplete_ranks()
        if not ranks:
            return
        require_ray()
        _require_reachable(os.environ.get("RAY_ADDRESS", ""))
        import ray

        connected = ray.is_initialized()
        if not connected:
            # A cluster that Ray starts reports usage statistics by default.
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            try:
                ray.init(log_to_driver=False, logging_level=logging.ERROR)
            except ConnectionError as error:
                raise ConnectionError(f"{error}; {_NO_CLUSTER}") from error
        try:
            self._warn_if_no_node_fits(ray)
            self._run(ray, ranks)
        finally:
            if not connected:
                ray.shutdown()

    def _resources(self) -> dict[str, float]:
        """Return the resources of a worker by Ray's names."""
        memory = int(self.mem_per_cpu_gb * self.cpus_per_task * 1024**3)
        return {"CPU": self.cpus_per_task, "GPU": self.gpus_per_task, "memory": memory}

    def _warn_if_no_node_fits(self, ray: Any) -> None:
        # Not an error, because an autoscaling cluster may add such a node. Ray itself waits silently.
        need = self._resources()
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if not any(all(node.get(name, 0) >= amount for name, amount in need.items()) for node in nodes):
            print(
                f"Warning: no node of the Ray cluster has {need['CPU']:g} CPUs, {need['GPU']:g} GPUs and "
                f"{need['memory'] / 1024**3:g} GB of free memory; the build waits until one joins. Lower "
                "cpus_per_task, gpus_per_task or mem_per_cpu_gb in the recipe's section ray, or add a node.",
                file=sys.stderr,
            )

    def _run(self, ray: Any, ranks: list[int]) -> None:
        need = self._resources()
        restarts = {"max_restarts": RESTARTS, "max_task_retries": RESTARTS}
        resources = {"num_cpus": need["CPU"], "num_gpus": need["GPU"], "memory": need["memory"]}
        actor_class = ray.remote(_Worker).options(**resources, **restarts | self.ray_remote_kwargs)
        executor, left = ray.put(self), iter(ranks)
        actors = [actor_class.remote(executor, number) for number in range(min(self.workers, len(ranks)))]
        # An actor without resources keeps its rank until another actor finishes.
        running = {actor.build.remote(rank): (rank, actor) for actor, rank in zip(actors, left)}
        try:
            while running:
                (done,), _ = ray.wait(list(running), num_returns=1)
                rank, actor = running.pop(done)
                try:
                    error = ray.get(done)
                except ray.exceptions.RayActorError as death:
                    raise WorkerDiedError(
                        f"{self.log_folder}: the Ray worker on rank {rank} died and could not be restarted, perhaps "
                        "for lack of memory (mem_per_cpu_gb in the recipe's section ray); see the logs there and "
                        f"{RUN_AGAIN}"
                    ) from death
                if error is not None:
                    raise error
                following = next(left, None)
                if following is None:
                    ray.kill(actor)
                else:
                    running[actor.build.remote(following)] = (following, actor)
        finally:
            for actor in actors:
                ray.kill(actor)


def _require_reachable(address: str) -> None:
    """Raise a ConnectionError if nothing listens at HOST:PORT. Ray itself retries silently for minutes."""
    host, _, port = address.rpartition(":")
    if host and "/" not in address and port.isdecimal():
        try:
            socket.create_connection((host.strip("[]"), int(port)), _SECONDS_TO_CONNECT).close()
        except (OSError, OverflowError) as error:
            raise ConnectionError(f"nothing listens at RAY_ADDRESS={address} ({error}); {_NO_CLUSTER}") from error


class _Worker:
    """A Ray actor. The kernel ends its translator, a child process, with it."""

    def __init__(self, executor: RayExecutor, number: int):
        self.executor, self.number = executor, number

    def build(self, rank: int) -> Exception | None:
        return run_rank(self.executor, rank, self.number, self.executor.log_folder)


def require_ray() -> None:
    """Raise an ImportError with the fix if Ray is not installed."""
    if find_spec("ray") is None:
        raise ImportError("the executor 'ray' needs Ray; install the extra: pip install 'mser-llm[m5ser,ray]'")
