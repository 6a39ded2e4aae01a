# SPDX-License-Identifier: Apache-2.0
"""Faults during a build cost one clip, or stop the build with a clear error; a second run completes the same bytes."""

import contextlib
import json
import random
import resource
import subprocess
import time

import psutil
import pytest
from m5ser_building.toy_corpus import build_command, environment, run_build, toy_config, write_corpus
from pyarrow import parquet

from mser_llm.m5ser.build import build


pytestmark = pytest.mark.slow
CLIPS = 24
FLAGS = ["--shards_per_language", "2"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus") / "clips", [f"c{i}" for i in range(CLIPS)])


def built_files(output):
    """Return the content of each file, except logs and the two files that contain paths."""
    files = {str(path.relative_to(output)): path for path in output.rglob("*") if path.is_file()}
    others = {name: path for name, path in files.items() if not name.startswith("logs/")}
    return {name: path.read_bytes() for name, path in others.items() if name not in ("config.yaml", "README.md")}


@pytest.fixture(scope="module")
def undisturbed(corpus, tmp_path_factory):
    """The files of a complete build by one worker."""
    output = tmp_path_factory.mktemp("undisturbed") / "m5ser"
    done = run_build(corpus, output, *FLAGS)
    assert done.returncode == 0, done.stderr
    files = built_files(output)
    assert json.loads(files["manifest.json"])["manifest_hash"] in done.stdout
    # One bar, and no log of datatrove's.
    assert "Building M5SER: 100%" in done.stderr
    assert "PIPELINE" not in done.stdout + done.stderr
    return files


def test_build_rejects_only_the_clips_on_which_the_translator_fails(tmp_path):
    faults = ["dies", "hangs", "silence", "nan", "rate"]
    names = [*(f"c{i}" for i in range(8)), *(f"x-{fault}" for fault in faults)]
    folder = write_corpus(tmp_path / "clips", names)
    cut = folder / "clips" / "c7.wav"
    cut.write_bytes(cut.read_bytes()[:3000])
    config = toy_config(folder, tmp_path / "out", languages=["fr"], seconds_per_batch=4.0)
    manifest = build(config, progress=False)
    rejects = parquet.read_table(tmp_path / "out" / "rejects" / "fr-00000-of-00001.parquet").to_pylist()
    found = {row["source_id"].removeprefix("clips/").removesuffix(".wav"): row for row in rejects}
    assert {name: row["stage"] for name, row in found.items()} == {
        "c7": "read",
        **{f"x-{fault}": "translate" for fault in faults},
    }
    for fault, value in {"dies": "SIGKILL", "hangs": "4 s", "rate": "8000 Hz"}.items():
        assert value in found[f"x-{fault}"]["reason"]
    assert [shard["rows"] for shard in manifest["shards"]] == [len(names) - 1, 7]
    assert build(config, progress=False) == manifest


def inodes(output):
    return {str(path.relative_to(output)): path.stat().st_ino for path in output.glob("data/*/*.parquet")}


def check_stops_and_resumes(corpus, undisturbed, output, make_room, full, **limits):
    stopped = run_build(corpus, output, *FLAGS, **limits)
    assert stopped.returncode == 2, stopped.stdout + stopped.stderr
    assert stopped.stderr.strip().splitlines()[-1].startswith(f"run-mser: error: {full}")
    assert "Traceback" not in stopped.stderr
    finished = inodes(output)
    make_room()
    again = run_build(corpus, output, *FLAGS)
    assert again.returncode == 0, again.stderr
    assert finished.items() <= inodes(output).items()
    assert built_files(output) == undisturbed
    return finished


def test_build_stops_at_a_file_size_limit_and_resumes(corpus, undisturbed, tmp_path):
    shards = json.loads(undisturbed["manifest.json"])["shards"]
    largest = {name: max(shard["bytes"] for shard in shards if shard["language"] == name) for name in ("en", "fr")}
    assert largest["en"] + 4096 < largest["fr"]
    limit = largest["en"] + 2048

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    output = tmp_path / "out"
    full = output / "data" / "fr"
    finished = check_stops_and_resumes(corpus, undisturbed, output, lambda: None, full, preexec_fn=limited)
    assert sorted(finished) == [f"data/en/train-0000{index}-of-00002.parquet" for index in (0, 1)]


@pytest.fixture
def tiny_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("may not mount a tmpfs here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_build_stops_on_a_full_disk_and_resumes(corpus, undisturbed, tiny_disk):
    def enlarge():
        subprocess.run(["mount", "-o", "remount,size=8m", str(tiny_disk)], check=True)

    check_stops_and_resumes(corpus, undisturbed, tiny_disk / "m5ser", enlarge, tiny_disk / "m5ser")


def start_build(corpus, recipe, output, clips):
    """Start a build by two workers; wait until so many clips are processed and a translator has started on a batch.

    Returns the build, its workers and those translators. A translator that dies before ends the build.
    """
    log = recipe.with_suffix(".log")
    recipe.write_text(f"translator_options: {{seconds: 0.1, log: {log}}}\n", encoding="utf-8")
    log.write_text("", encoding="utf-8")
    for counter in output.glob("logs/*/progress/*"):
        counter.unlink()
    process = psutil.Popen(
        build_command(corpus, output, *FLAGS, "--workers", "2", str(recipe)),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None:
        workers, translators = [], []
        with contextlib.suppress(psutil.Error):  # of a process that has just ended
            workers = [one for one in process.children() if "spawn_main" in " ".join(one.cmdline())]
            started = {int(line.split()[0]) for line in log.read_text(encoding="utf-8").splitlines()}
            translators = [child for worker in workers for child in worker.children() if child.pid in started]
        if translators and sum(int(path.read_bytes() or 0) for path in output.glob("logs/*/progress/*")) >= clips:
            return process, workers, translators
        time.sleep(0.01)
    raise AssertionError(f"finished before it could be killed: {process.communicate()[1]}")


def test_build_killed_at_any_place_resumes_to_the_same_bytes(corpus, undisturbed, tmp_path):
    output, recipe = tmp_path / "m5ser", tmp_path / "slow.yaml"
    moments = random.Random(0)

    # The parent: nothing may write on behind the back of the next run.
    process, _, _ = start_build(corpus, recipe, output, moments.randrange(1, CLIPS))
    offspring = process.children(recursive=True)
    process.kill()
    process.communicate()
    assert offspring and psutil.wait_procs(offspring, timeout=60)[1] == []

    # A worker, as by the kernel for lack of memory: datatrove's own pool would wait forever.
    process, workers, _ = start_build(corpus, recipe, output, moments.randrange(1, CLIPS // 2))
    offspring = process.children(recursive=True)
    moments.choice(workers).kill()
    _, stderr = process.communicate(timeout=240)
    assert process.returncode == 2 and "signal 9" in stderr.strip().splitlines()[-1]
    assert psutil.wait_procs(offspring, timeout=60)[1] == []

    # A translator: it is replaced, and the build continues.
    process, _, translators = start_build(corpus, recipe, output, moments.randrange(1, CLIPS // 4))
    moments.choice(translators).kill()
    _, stderr = process.communicate(timeout=240)
    assert process.returncode == 0, stderr
    assert built_files(output) == undisturbed
