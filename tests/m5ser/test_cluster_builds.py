# SPDX-License-Identifier: Apache-2.0
"""Run the documented commands on a real Ray and a real Slurm, kill a worker, and compare with a local build."""

import json
import re
import shlex
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from m5ser_building.clusters import jobs, local_ray, one_node_slurm
from m5ser_building.toy_corpus import ROOT

from mser_llm.cli import m5ser_build
from mser_llm.cli.parser import MSERArgumentParser
from mser_llm.data.synthesis.demo_speech import write_demo_speech
from mser_llm.m5ser.build import build


pytestmark = pytest.mark.slow
PAGE = ROOT / "docs" / "m5ser.md"
ENGLISH = Path("runs/demo/english")


def documented_command(executor: str) -> list[str]:
    """Return the arguments of `run-mser` in the page's command for the demo on an executor."""
    pattern = rf"^(?:\w+=\S+ )?run-mser (m5ser build m5ser/demo --executor {executor} .*)$"
    (command,) = re.findall(pattern, PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return shlex.split(command)


def parsed(words: list[str]):
    parser = MSERArgumentParser(m5ser_build.ARGUMENTS, prog="run-mser m5ser build")
    return parser.parse_args_into_dataclasses(words[2:])[0]


@pytest.fixture(scope="module")
def local_build(shared_folder) -> Path:
    """A folder with the demo's English speech and the corpus that one local worker builds from it."""

    def fill(folder: Path) -> None:
        write_demo_speech(folder / ENGLISH, languages=["en"], clips_per_language=14, seed=0)
        words = ["--corpora", f"folder={folder / ENGLISH}", "--output_dir", str(folder / "local")]
        config = parsed([*documented_command("ray"), "--executor", "local", "--workers", "1", *words])
        build(config, progress=False)

    return shared_folder("m5ser-local-build", fill)


@pytest.fixture
def folder(local_build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with the speech under its documented path."""
    (tmp_path / ENGLISH).parent.mkdir(parents=True)
    (tmp_path / ENGLISH).symlink_to(local_build / ENGLISH)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def manifest_hash(output: Path) -> str:
    return json.loads((output / "manifest.json").read_text(encoding="utf-8"))["manifest_hash"]


def writes(process: psutil.Process, counter: Path) -> bool:
    """Whether a process has a progress counter open for writing: it is in the middle of a shard."""
    try:
        return any(file.path == str(counter) and file.mode == "w" for file in process.open_files())
    except psutil.Error:
        return False


def kill_in_shard(worker: psutil.Process, counter: Path) -> bool:
    """Step a worker until it has finished a clip, then kill it; return False if its shard ends before."""
    with suppress(psutil.NoSuchProcess):
        worker.suspend()
        while writes(worker, counter):
            if int(counter.read_bytes() or 0):
                worker.kill()
                return True
            worker.resume()
            time.sleep(0.002)
            worker.suspend()
            while worker.status() not in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE):
                time.sleep(0.001)
        worker.resume()
    return False


def kill_a_worker(output: Path, running: Callable[[], bool], seconds: float = 200) -> bool:
    """Kill the first worker that is in the middle of a shard; return whether there was one."""
    end = time.monotonic() + seconds
    while running() and time.monotonic() < end:
        for counter in output.resolve().glob("logs/*/progress/*"):
            workers = [process for process in psutil.process_iter() if writes(process, counter)]
            if any(kill_in_shard(worker, counter) for worker in workers):
                return True
        time.sleep(0.02)
    return False


def test_ray_build_recovers_from_a_killed_worker(local_build, folder, warm_python):
    words = documented_command("ray")
    output = folder / parsed(words).output_dir
    with local_ray() as environment, ThreadPoolExecutor(1) as pool:
        running = pool.submit(warm_python.run, ROOT / "run_mser.py", *words, environment=environment, timeout=240)
        killed = kill_a_worker(output, lambda: not running.done())
        done = running.result()
    assert killed, done.stderr
    assert done.returncode == 0, done.stderr
    assert manifest_hash(output) == manifest_hash(local_build / "local")
    assert manifest_hash(output) in done.stdout


def test_slurm_build_recovers_from_a_killed_worker(local_build, folder, warm_python):
    words = documented_command("slurm")
    output = folder / parsed(words).output_dir
    with one_node_slurm() as environment:

        def submit() -> None:
            done = warm_python.run(ROOT / "run_mser.py", *words, environment=environment)
            assert done.returncode == 0, done.stderr

        def wait_for_jobs() -> None:
            end = time.monotonic() + 200
            while left := jobs(environment):
                assert not [job for job in left if "DependencyNeverSatisfied" in job], "a job waits forever"
                assert time.monotonic() < end, left
                time.sleep(0.2)

        submit()
        assert kill_a_worker(output, lambda: bool(jobs(environment)))
        wait_for_jobs()
        assert not (output / "manifest.json").exists()
        submit()
        wait_for_jobs()
    logs = "\n".join(path.read_text(encoding="utf-8") for path in output.glob("logs/*/finish/slurm_logs/*"))
    assert (output / "manifest.json").exists(), logs
    assert manifest_hash(output) == manifest_hash(local_build / "local")
