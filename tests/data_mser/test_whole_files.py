# SPDX-License-Identifier: Apache-2.0
"""A file is there whole, or as it was before."""

import errno
import os

import pytest

from data_mser.whole_files import whole_file


def test_nothing_is_seen_before_the_end(tmp_path):
    path = tmp_path / "results.json"
    path.write_text("old")
    with whole_file(path) as file:
        file.write("new ü")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text(encoding="utf-8") == "new ü"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(b"old")

    def write_half():
        with whole_file(path, "wb") as file:
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
        with whole_file(path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match=r"No space left on device: '.*results.json'"):
        fill()
    assert not [*tmp_path.iterdir()]
