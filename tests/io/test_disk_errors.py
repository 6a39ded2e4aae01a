# SPDX-License-Identifier: Apache-2.0
import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from processes import limit_file_size
from safetensors.torch import save_file

from mser_llm.io.disk_errors import explain_disk_full


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(bytes(1 << 16)),
        lambda path: save_file({"weight": torch.zeros(1 << 14)}, path),
        lambda path: torch.save({"weight": torch.zeros(1 << 14)}, path),
    ],
    ids=["system", "safetensors", "torch"],
)
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
