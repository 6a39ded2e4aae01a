# SPDX-License-Identifier: Apache-2.0
import errno
import os
import subprocess
import sys

import pytest

from mser_llm.io.atomic_files import atomic_open


def test_atomic_open_replaces_the_file_at_the_end(tmp_path):
    path = tmp_path / "results.json"
    path.write_text("old")
    with atomic_open(path) as file:
        file.write("new ü")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text(encoding="utf-8") == "new ü"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))])
def test_atomic_open_keeps_the_old_file_on_an_error(tmp_path, error):
    path = tmp_path / "picture.png"
    path.write_bytes(b"old")

    def write_half():
        with atomic_open(path, "wb") as file:
            file.write(b"half")
            raise error

    with pytest.raises(type(error)) as caught:
        write_half()
    assert getattr(caught.value, "filename", str(path)) == str(path)  # which the system leaves out for a full disk
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


WRITE = """
import sys
from mser_llm.io.atomic_files import atomic_open
with atomic_open(sys.argv[1]) as file:
    print("writing", flush=True)
    sys.stdin.readline()
    file.write("theirs")
"""


def test_atomic_open_removes_files_of_killed_writers_only(tmp_path):
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
