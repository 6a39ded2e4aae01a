# SPDX-License-Identifier: Apache-2.0
"""What goes wrong costs what it touched, or stops the build clearly; a rerun completes."""

import json
import os
import resource
import subprocess

import pytest
from m5ser_building.toy_corpus import ROOT, run_build, shard_bytes, toy_config, write_corpus
from pyarrow import parquet

from mser_llm.m5ser.build import build


pytestmark = pytest.mark.slow
FAULTS = ["dies", "hangs", "silence", "nan", "rate"]
FLAGS = ["--shards_per_language", "2"]


@pytest.fixture(autouse=True)
def toys_are_found(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "tests")]))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus") / "clips", [f"c{i}" for i in range(24)])


def test_a_translator_that_fails_costs_the_clips_that_it_fails_on(tmp_path):
    names = [f"c{i}" for i in range(8)] + [f"x-{fault}" for fault in FAULTS]
    folder = write_corpus(tmp_path / "clips", names)
    cut = folder / "clips" / "c7.wav"
    cut.write_bytes(cut.read_bytes()[:3000])
    config = toy_config(folder, tmp_path / "out", languages=["fr"], seconds_per_batch=4.0)
    manifest = build(config, progress=False)
    rejects = parquet.read_table(tmp_path / "out" / "rejects" / "fr-00000-of-00001.parquet").to_pylist()
    reasons = {row["source_id"].removeprefix("clips/").removesuffix(".wav"): row for row in rejects}
    assert set(reasons) == {"c7", *(f"x-{fault}" for fault in FAULTS)}
    assert reasons.pop("c7")["stage"] == "read"
    assert {row["stage"] for row in reasons.values()} == {"translate"}
    told = {
        "dies": "died (SIGKILL) on this clip",
        "hangs": "took longer than 4 s on this clip",
        "silence": "is silent",
        "nan": "no finite numbers",
        "rate": "sampling rate of 8000 Hz",
    }
    for fault, words in told.items():
        assert words in reasons[f"x-{fault}"]["reason"], reasons[f"x-{fault}"]
    assert [shard["rows"] for shard in manifest["shards"]] == [len(names) - 1, 7]
    assert build(config, progress=False) == manifest


@pytest.fixture(scope="module")
def whole(corpus, tmp_path_factory):
    """The files of a build that nothing disturbed."""
    output = tmp_path_factory.mktemp("whole") / "m5ser"
    done = run_build(corpus, output, *FLAGS)
    assert done.returncode == 0, done.stderr
    return {name: content for name, content in shard_bytes(output).items() if name != "README.md"}


def test_a_full_disk_by_the_limit_on_file_sizes(corpus, whole, tmp_path):
    expected = json.loads(whole["manifest.json"])
    largest = {name: max(s["bytes"] for s in expected["shards"] if s["language"] == name) for name in ("en", "fr")}
    assert largest["en"] + 4096 < largest["fr"]
    limit = largest["en"] + 2048

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    output = tmp_path / "out"
    stopped = run_build(corpus, output, *FLAGS, preexec_fn=limited)
    check_clear_stop(stopped, output / "data" / "fr")
    finished = {name: inode for name, inode in inodes(output).items() if name.startswith("data/en")}
    assert len(finished) == 2
    again = run_build(corpus, output, *FLAGS)
    assert again.returncode == 0, again.stderr
    assert json.loads((output / "manifest.json").read_text(encoding="utf-8")) == expected
    assert finished.items() <= inodes(output).items()


@pytest.fixture
def tiny_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("may not mount a tmpfs here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk(corpus, whole, tiny_disk):
    output = tiny_disk / "m5ser"
    stopped = run_build(corpus, output, *FLAGS)
    check_clear_stop(stopped, output)
    finished = {name: inode for name, inode in inodes(output).items() if name.startswith("data/")}
    subprocess.run(["mount", "-o", "remount,size=8m", str(tiny_disk)], check=True)
    again = run_build(corpus, output, *FLAGS)
    assert again.returncode == 0, again.stderr
    assert finished.items() <= inodes(output).items()
    assert {name: content for name, content in shard_bytes(output).items() if name != "README.md"} == whole


def check_clear_stop(stopped, place):
    assert stopped.returncode == 2, stopped.stdout + stopped.stderr
    last = stopped.stderr.strip().splitlines()[-1]
    assert last.startswith(f"run-mser: error: {place}")
    assert "make room there and run the same command again" in last
    assert "Traceback" not in stopped.stderr


def inodes(output):
    return {str(path.relative_to(output)): path.stat().st_ino for path in output.glob("data/*/*.parquet")}
