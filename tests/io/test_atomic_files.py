# SPDX-License-Identifier: Apache-2.0
"""A file is there whole, or as it was before."""

import errno
import os
import subprocess
import sys

import pytest

from mser_llm.io.atomic_files import atomic_open


def test_nothing_is_seen_before_the_end(tmp_path):
    path = tmp_path / "results.json"
    path.write_text("old")
    with atomic_open(path) as file:
        file.write("new ü")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text(encoding="utf-8") == "new ü"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(b"old")

    def write_half():
        with atomic_open(path, "wb") as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_told_by_the_file(tmp_path):
    """The system's own error says which file could not be opened, and not which could not be written."""
    path = tmp_path / "results.json"

    def fill():
        with atomic_open(path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match=r"No space left on device: '.*results.json'"):
        fill()
    assert not [*tmp_path.iterdir()]


WRITE = """
import sys
from mser_llm.io.atomic_files import atomic_open
with atomic_open(sys.argv[1]) as file:
    print("writing", flush=True)
    sys.stdin.readline()
    file.write("theirs")
"""


def test_whole_file_removes_what_killed_writers_left(tmp_path):
    path = tmp_path / "predictions.csv"
    other = tmp_path / ".other.csv.5.unfinished"
    other.touch()
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with (
        subprocess.Popen([sys.executable, "-c", WRITE, path], **pipes) as killed,
        subprocess.Popen([sys.executable, "-c", WRITE, path], **pipes) as living,
    ):
        assert killed.stdout.readline() == living.stdout.readline() == "writing\n"
        killed.kill()
        killed.wait()
        left = [tmp_path / f".predictions.csv.{process.pid}.unfinished" for process in (killed, living)]
        assert all(file.exists() for file in left)
        with atomic_open(path) as file:
            file.write("ours")
        assert [file.exists() for file in left] == [False, True]
        assert path.read_text() == "ours"
        living.communicate("\n")
    assert path.read_text() == "theirs"
    assert sorted(tmp_path.iterdir()) == [other, path]
