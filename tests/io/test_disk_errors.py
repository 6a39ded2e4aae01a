# SPDX-License-Identifier: Apache-2.0
import errno
import os
import resource
import signal
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mser_llm.io.disk_errors import explain_disk_full


def by_system(path: Path) -> None:
    path.write_bytes(bytes(1 << 16))


def by_safetensors(path: Path) -> None:
    save_file({"weight": torch.zeros(1 << 14)}, path)


def by_torch(path: Path) -> None:
    torch.save({"weight": torch.zeros(1 << 14)}, path)


@contextmanager
def limit_file_size(size: int):
    """Limit the files of this process to a number of bytes."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("write", [by_system, by_safetensors, by_torch])
def test_explain_disk_full_adds_folder_and_fix(tmp_path: Path, write: Callable[[Path], None]):
    def fill():
        with limit_file_size(1 << 12), explain_disk_full(tmp_path), explain_disk_full(tmp_path / "run", "make room"):
            write(tmp_path / "weights")

    with pytest.raises(OSError, match=r"/run: .*; make room$"):
        fill()


@pytest.mark.parametrize("other", [RuntimeError("a fault"), OSError(errno.EACCES, os.strerror(errno.EACCES))])
def test_explain_disk_full_keeps_other_errors(tmp_path: Path, other: Exception):
    def fail():
        with explain_disk_full(tmp_path):
            raise other

    with pytest.raises(type(other)) as raised:
        fail()
    assert raised.value is other
