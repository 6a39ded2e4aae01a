# SPDX-License-Identifier: Apache-2.0
"""A build that is killed with SIGKILL at any moment, and run again, ends as one that was not."""

import json
import os
import random
import signal
import subprocess
import time

import pytest
from m5ser_building.processes import alive, children, command_line, descendants, survivors
from m5ser_building.toy_corpus import build_command, environment, run_build, shard_bytes, write_corpus


pytestmark = pytest.mark.slow
CLIPS = 30
FLAGS = ["--shards_per_language", "2", "--workers", "2"]
TOTAL = 3 * CLIPS


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus") / "clips", [f"c{i}" for i in range(CLIPS)])


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "slow.yaml"
    path.write_text("translator_options: {seconds: 0.05}\n", encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def unbroken(corpus, recipe, tmp_path_factory):
    output = tmp_path_factory.mktemp("unbroken") / "m5ser"
    done = run_build(corpus, output, *FLAGS, recipe)
    assert done.returncode == 0, done.stderr
    return shard_bytes(output)


def manifest_hash(files):
    return json.loads(files["manifest.json"])["manifest_hash"]


def start_and_wait(corpus, recipe, output, clips):
    """A running build that has done so many clips."""
    process = subprocess.Popen(
        build_command(corpus, output, *FLAGS, recipe),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while process.poll() is None:
        done = 0
        for path in output.glob("logs/*/progress/*"):
            done += int(path.read_bytes() or 0)
        if done >= clips:
            break
        time.sleep(0.01)
    return process


def run_again_and_compare(corpus, recipe, output, unbroken):
    done = run_build(corpus, output, *FLAGS, recipe)
    assert done.returncode == 0, done.stderr
    files = shard_bytes(output)
    assert manifest_hash(files) == manifest_hash(unbroken)
    assert {name for name in files if not name.endswith("README.md")} == {
        name for name in unbroken if not name.endswith("README.md")
    }
    for name, content in unbroken.items():
        if name != "README.md":  # names the folder
            assert files[name] == content, name


@pytest.mark.parametrize("moment", range(3))
def test_the_parent_killed_at_a_random_moment(corpus, recipe, unbroken, tmp_path, moment):
    clips = random.Random(moment).randrange(1, TOTAL)
    process = start_and_wait(corpus, recipe, tmp_path / "m5ser", clips)
    offspring = descendants(process.pid)
    assert offspring, "killed before its end"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    # Nobody writes on behind the back of the next run.
    assert survivors(offspring) == []
    run_again_and_compare(corpus, recipe, tmp_path / "m5ser", unbroken)


def test_a_worker_killed(corpus, recipe, unbroken, tmp_path):
    process = start_and_wait(corpus, recipe, tmp_path / "m5ser", 50)
    workers = [pid for pid in children(process.pid) if "spawn_main" in command_line(pid)]
    offspring = descendants(process.pid)
    os.kill(random.Random(0).choice(workers), signal.SIGKILL)
    assert process.wait(timeout=240) == 2
    assert survivors(offspring) == []
    run_again_and_compare(corpus, recipe, tmp_path / "m5ser", unbroken)


def test_a_translator_killed_is_replaced(corpus, recipe, unbroken, tmp_path):
    process = start_and_wait(corpus, recipe, tmp_path / "m5ser", 50)
    workers = [pid for pid in children(process.pid) if "spawn_main" in command_line(pid)]
    translators = [pid for worker in workers for pid in children(worker)]
    assert translators
    os.kill(translators[0], signal.SIGKILL)
    assert process.wait(timeout=240) == 0
    assert not alive(translators[0])
    run_again_and_compare(corpus, recipe, tmp_path / "m5ser", unbroken)
