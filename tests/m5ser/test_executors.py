# SPDX-License-Identifier: Apache-2.0
"""Options, markers and progress of the executors, and the Slurm one up to a fake `sbatch`."""

import inspect
import io
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest
from datatrove.executor.base import PipelineExecutor
from free_port import free_port
from m5ser_building.toy_corpus import toy_config, write_corpus

from mser_llm.io.errors import InputError
from mser_llm.m5ser import ray_executor
from mser_llm.m5ser.build import build
from mser_llm.m5ser.executors import create_executor, executor_options, mark_complete_shards
from mser_llm.m5ser.progress import show_progress
from mser_llm.m5ser.shards import shards_of


SLURM = {"time": "1:00:00", "partition": "gpu"}
SBATCH = """#!{python}
import os, sys
number = len(os.listdir({jobs!r})) + 1
open(os.path.join({jobs!r}, str(number)), "w").write(" ".join(sys.argv[1:-1]) + "\\n" + open(sys.argv[-1]).read())
print("Submitted batch job", number)
"""


@pytest.mark.parametrize(
    ("executor", "options", "source"),
    [
        ("slurm", {}, "slurm.time"),
        ("slurm", {**SLURM, "gpu_per_task": 1}, "slurm.gpu_per_task"),
        ("ray", {"tasks": 3}, "ray.tasks"),
    ],
)
def test_executor_options_are_checked_against_datatroves(tmp_path, executor, options, source):
    with pytest.raises(InputError) as raised:
        executor_options(toy_config(tmp_path, tmp_path, executor=executor, **{executor: options}))
    assert raised.value.source == source
    assert source != "slurm.gpu_per_task" or "gpus_per_task" in raised.value.fix


@pytest.mark.parametrize(
    ("name", "options"), [("slurm", {**SLURM, "gpus_per_task": 1}), ("ray", {"gpus_per_task": 1})]
)
def test_executor_gets_ranks_workers_and_options(tmp_path, name, options):
    config = toy_config(tmp_path, tmp_path, executor=name, workers=7, **{name: options})
    executor = create_executor(config, [], 12, tmp_path / "logs")
    assert type(executor).__name__.lower() == f"{name}executor"
    assert (executor.world_size, executor.workers, executor.gpus_per_task) == (12, 7, 1)


def test_build_names_the_missing_program_of_a_cluster(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="sbatch"):
        build(toy_config(tmp_path, tmp_path / "m5ser", executor="slurm", slurm=SLURM), [])
    monkeypatch.setattr(ray_executor, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install"):
        build(toy_config(tmp_path, tmp_path / "m5ser", executor="ray"), [])


def test_slurm_job_that_is_rejected_is_an_error_with_the_script(tmp_path, monkeypatch):
    (tmp_path / "sbatch").write_text("#!/bin/sh\nexit 1\n", encoding="ascii")
    (tmp_path / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(OSError, match="launch_script"):
        create_executor(toy_config(tmp_path, tmp_path, executor="slurm", slurm=SLURM), [], 2, tmp_path / "logs").run()


def test_ray_cluster_that_does_not_answer_is_an_error_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(ray_executor, "find_spec", lambda name: "installed")
    address = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(ConnectionError, match=address):
        create_executor(toy_config(tmp_path, tmp_path, executor="ray"), [], 1, tmp_path / "logs").run()


@pytest.mark.parametrize("chosen", [None, "env_command", "condaenv", "venv_path"])
def test_slurm_jobs_run_in_the_chosen_environment(tmp_path, chosen):
    options = SLURM if chosen is None else {**SLURM, chosen: "mine"}
    config = toy_config(tmp_path, tmp_path, executor="slurm", slurm=options)
    script = create_executor(config, [], 1, tmp_path).get_launch_file_contents({}, "")
    assert (str(Path(sys.executable).parent) in script) == (chosen is None)
    assert chosen is None or "mine" in script


def test_completion_markers_follow_the_shards(tmp_path):
    shards = shards_of(toy_config(tmp_path, tmp_path), tmp_path)
    marker = tmp_path / "logs" / "completions" / "00001"
    marker.parent.mkdir(parents=True)
    marker.touch()
    assert mark_complete_shards(shards, "build", tmp_path / "logs") == [0, 1, 2]
    assert not marker.exists()


def test_slurm_build_submits_shards_and_a_last_job(tmp_path, monkeypatch):
    """The jobs themselves run on a real Slurm in test_cluster_builds.py."""
    jobs, sbatch = tmp_path / "jobs", tmp_path / "bin" / "sbatch"
    jobs.mkdir()
    sbatch.parent.mkdir()
    sbatch.write_text(SBATCH.format(python=sys.executable, jobs=str(jobs)), encoding="utf-8")
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(sbatch.parent), os.environ["PATH"]]))
    options = {**SLURM, "gpus_per_task": 1, "tasks_per_job": 2}
    corpus = write_corpus(tmp_path / "corpus", [f"c{i}" for i in range(6)])
    assert build(toy_config(corpus, tmp_path / "m5ser", executor="slurm", slurm=options), progress=False) is None
    first, last = (path.read_text(encoding="utf-8") for path in sorted(jobs.iterdir()))
    assert "--array=0-1%1" in first, "three ranks, two per job, one worker"
    assert "#SBATCH --gpus=1" in first
    assert "--dependency=afterany:1" in last.splitlines()[0]
    assert "#SBATCH --gpus" not in last


def test_datatrove_has_the_private_method_that_runs_one_rank():
    method = getattr(PipelineExecutor, "_run_for_rank", None)
    release = f"datatrove {version('datatrove')}: adapt mser_llm/m5ser/compat.py"
    assert method is not None, release
    assert list(inspect.signature(method).parameters)[:3] == ["self", "rank", "local_rank"], release


def test_progress_bar_does_not_block_the_build_if_its_output_breaks(tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        broken = False

        def write(self, text):
            if self.broken:
                raise BrokenPipeError
            return super().write(text)

    monkeypatch.setattr("sys.stderr", Terminal())
    with show_progress(tmp_path, [1], [0], True):
        Terminal.broken = True
        time.sleep(0.7)  # longer than the interval of the bar
