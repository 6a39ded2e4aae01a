# SPDX-License-Identifier: Apache-2.0
"""Only one training may use a folder; a killed one leaves no lock."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mser_llm.training.run_lock import LOCK, OutputFolderError, run_lock
from run_mser import main


RECIPE = Path(__file__).parents[1] / "recipe.yaml"
HOLD = """
import os, sys
from mser_llm.io.file_locks import open_locked
file, held = open_locked(sys.argv[1], "a+")
print(f"process {os.getpid()}", file=file, flush=True)
print("held" if held else "free", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path: Path):
    """Another process that locks `tmp_path / "run"`."""
    (tmp_path / "run").mkdir()
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path / "run" / LOCK], **pipes) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_run_lock_rejects_a_second_training(tones: Path, holder, tmp_path: Path, capsys):
    staging = tmp_path / "run" / "partial-checkpoint"
    staging.mkdir()
    places = ["--output_dir", str(tmp_path / "run"), "--cache_dir", str(tmp_path / "cache")]
    assert main(["train", str(RECIPE), "--corpora", f"folder={tones}", "--auto_find_batch_size", *places]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert str(tmp_path / "run") in error and str(holder.pid) in error and "output_dir" in error
    assert staging.is_dir() and not (tmp_path / "cache").exists()
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    staging.rmdir()
    for _ in range(2):
        with run_lock(tmp_path / "run"):
            assert os.listdir(tmp_path / "run") == [LOCK]
        assert os.listdir(tmp_path / "run") == []


def test_run_lock_is_optional_without_file_locks(tmp_path: Path, monkeypatch):
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "lockf", no_locks)
    with pytest.warns(UserWarning, match="no locks"), run_lock(tmp_path / "run"):
        pass


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="there is no /proc")
def test_output_dir_that_cannot_be_created_is_rejected(tmp_path: Path):
    with pytest.raises(OutputFolderError, match="/proc/x"), run_lock("/proc/x"):
        pass
