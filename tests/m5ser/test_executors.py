# SPDX-License-Identifier: Apache-2.0
"""datatrove's executors: options, markers, and the Slurm one up to `sbatch`, which a script stands in for."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from free_port import free_port
from m5ser_building.toy_corpus import run_build, shard_bytes, toy_config, write_corpus

from mser_llm.m5ser import ray_executor
from mser_llm.m5ser.build import build
from mser_llm.m5ser.executors import executor_options, make_executor, mark_whole_shards
from mser_llm.m5ser.shards import shards_of


SBATCH = """#!{python}
import os, re, subprocess, sys
script = open(sys.argv[-1]).read()
number = len(os.listdir({jobs!r})) + 1
open(os.path.join({jobs!r}, str(number)), "w").write(" ".join(sys.argv[1:-1]) + "\\n" + script)
last = int(re.search(r"--array=0-(\\d+)", script).group(1))
for task in range(last + 1):
    environment = {{**os.environ, "SLURM_ARRAY_TASK_ID": str(task), "SLURM_NODELIST": "here", "RUN_OFFSET": "0"}}
    done = subprocess.run(["bash", sys.argv[-1]], env=environment, capture_output=True, text=True)
    open(os.path.join({jobs!r}, str(number)), "a").write(done.stdout + done.stderr)
print("Submitted batch job", number)
"""
SRUN = '#!/bin/bash\nwhile [[ "$1" == -* ]]; do if [[ "$1" == -n ]]; then shift; fi; shift; done\nexec "$@"\n'
SCONTROL = '#!/bin/bash\necho "$3"\n'


def test_options_are_checked_against_datatroves(tmp_path):
    with pytest.raises(ValueError, match="slurm: SlurmPipelineExecutor needs time; add it"):
        executor_options(toy_config(tmp_path, tmp_path, executor="slurm"))
    options = {"time": "1:00:00", "partition": "gpu", "gpu_per_task": 1}
    with pytest.raises(ValueError, match="no option 'gpu_per_task'; the nearest is 'gpus_per_task'"):
        executor_options(toy_config(tmp_path, tmp_path, executor="slurm", slurm=options))
    with pytest.raises(ValueError, match="ray: RayExecutor has no option 'tasks'"):
        executor_options(toy_config(tmp_path, tmp_path, executor="ray", ray={"tasks": 3}))


@pytest.mark.parametrize(
    ("name", "options"),
    [("slurm", {"time": "1:00:00", "partition": "gpu", "gpus_per_task": 1}), ("ray", {"gpus_per_task": 1})],
)
def test_each_executor_gets_ranks_workers_and_options(tmp_path, name, options):
    config = toy_config(tmp_path, tmp_path, executor=name, workers=7, **{name: options})
    executor = make_executor(config, [], 12, tmp_path / "logs")
    assert type(executor).__name__.lower() == f"{name}executor"
    assert (executor.world_size, executor.workers, executor.gpus_per_task) == (12, 7, 1)


def test_cluster_builds_name_the_program_that_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    options = {"time": "1:00:00", "partition": "gpu"}
    with pytest.raises(FileNotFoundError, match="sbatch"):
        build(toy_config(tmp_path, tmp_path / "m5ser", executor="slurm", slurm=options), [])
    monkeypatch.setattr(ray_executor, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install"):
        build(toy_config(tmp_path, tmp_path / "m5ser", executor="ray"), [])


def test_slurm_refusing_a_job_is_an_error_with_the_script(tmp_path, monkeypatch):
    (tmp_path / "sbatch").write_text("#!/bin/sh\nexit 1\n", encoding="ascii")
    (tmp_path / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    config = toy_config(tmp_path, tmp_path, executor="slurm", slurm={"time": "1:00:00", "partition": "none"})
    with pytest.raises(OSError, match="launch_script"):
        make_executor(config, [], 2, tmp_path / "logs").run()


def test_ray_cluster_that_does_not_answer_is_an_error_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(ray_executor, "find_spec", lambda name: "installed")
    address = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(ConnectionError, match=address):
        make_executor(toy_config(tmp_path, tmp_path, executor="ray"), [], 1, tmp_path / "logs").run()


@pytest.mark.parametrize("chosen", ["env_command", "condaenv", "venv_path"])
def test_slurm_jobs_run_in_the_chosen_environment(tmp_path, chosen):
    options = {"time": "1:00:00", "partition": "cpu"}
    config = toy_config(tmp_path, tmp_path, executor="slurm", slurm=options)
    assert str(Path(sys.executable).parent) in make_executor(config, [], 1, tmp_path).get_launch_file_contents({}, "")
    config = toy_config(tmp_path, tmp_path, executor="slurm", slurm={**options, chosen: "mine"})
    script = make_executor(config, [], 1, tmp_path).get_launch_file_contents({}, "")
    assert "mine" in script
    assert str(Path(sys.executable).parent) not in script


def test_markers_follow_the_shards(tmp_path):
    shards = shards_of(toy_config(tmp_path, tmp_path), tmp_path)
    marker = tmp_path / "logs" / "completions" / "00001"
    marker.parent.mkdir(parents=True)
    marker.touch()
    assert mark_whole_shards(shards, "build", tmp_path / "logs") == [0, 1, 2]
    assert not marker.exists()


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A folder of the jobs that were submitted; each runs at once, one task after another."""
    programs, jobs = tmp_path / "bin", tmp_path / "jobs"
    programs.mkdir()
    jobs.mkdir()
    scripts = {"sbatch": SBATCH.format(python=sys.executable, jobs=str(jobs)), "srun": SRUN, "scontrol": SCONTROL}
    for name, text in scripts.items():
        (programs / name).write_text(text, encoding="utf-8")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(programs), os.environ["PATH"]]))
    return jobs


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="sbatch runs bash scripts")
def test_a_build_on_slurm_is_the_build_on_this_machine(slurm, tmp_path):
    corpus = write_corpus(tmp_path / "corpus", [f"c{i}" for i in range(6)])
    recipe = tmp_path / "slurm.yaml"
    recipe.write_text(
        'executor: slurm\nslurm: {partition: gpu, time: "1:00:00", gpus_per_task: 1, tasks_per_job: 2}\n',
        encoding="utf-8",
    )
    submitted = run_build(corpus, tmp_path / "slurm", str(recipe))
    assert submitted.returncode == 0, submitted.stderr
    assert "with Slurm" in submitted.stdout
    scripts = [path.read_text(encoding="utf-8") for path in sorted(slurm.iterdir())]
    assert "--array=0-1%1" in scripts[0], "three ranks, two to a job, one worker"
    assert "#SBATCH --gpus=1" in scripts[0]
    last = next(text for text in scripts if "finish" in text)
    assert "--dependency=afterany:1" in last.splitlines()[0]
    assert "#SBATCH --gpus" not in last

    local = run_build(corpus, tmp_path / "local")
    assert local.returncode == 0, local.stderr
    expected, found = shard_bytes(tmp_path / "local"), shard_bytes(tmp_path / "slurm")
    assert found.keys() == expected.keys()
    assert json.loads(found["manifest.json"]) == json.loads(expected["manifest.json"])
    again = run_build(corpus, tmp_path / "slurm", str(recipe))
    assert "manifest hash" in again.stdout, "nothing is left to submit"
