# SPDX-License-Identifier: Apache-2.0
"""Checks of output folders and labels before a command runs."""

from dataclasses import dataclass
from pathlib import Path

import pytest

import run_mser
from mser_llm.cli.argument_checks import check_folder, check_sections
from mser_llm.io.errors import InputError


@dataclass
class Folders:
    output_dir: str
    cache_dir: str = "."


@pytest.mark.parametrize("below", [".", "some/more"])
@pytest.mark.parametrize("flag", ["output_dir", "cache_dir"])
def test_check_sections_rejects_file_as_folder(flag, below, tmp_path):
    taken = tmp_path / "taken"
    taken.write_text("a file")
    with pytest.raises(InputError) as raised:
        check_sections([Folders(**{"output_dir": str(tmp_path), flag: str(taken / below)})])
    assert raised.value.source == str(taken)
    assert f"--{flag}" in raised.value.fix
    assert taken.read_text() == "a file"


def test_command_checks_folders_before_it_reads_anything(tmp_path, capsys):
    taken = tmp_path / "taken"
    taken.write_text("a file")
    arguments = ["--model", "nowhere", "--corpora", "emodb=nowhere", "--output_dir", str(taken)]
    assert run_mser.main(["evaluate", *arguments]) == 2
    error = capsys.readouterr().err
    assert str(taken) in error and error.count("\n") == 1


def test_check_folder_takes_folders_and_rejects_broken_links(tmp_path):
    check_folder("--output_dir", tmp_path)
    check_folder("--output_dir", tmp_path / "some" / "more")
    assert not (tmp_path / "some").exists()
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    with pytest.raises(InputError) as raised:
        check_folder("--output_dir", tmp_path / "link" / "more")
    assert raised.value.source == str(tmp_path / "link")


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="there is no /proc")
def test_check_folder_rejects_folder_that_cannot_be_created():
    with pytest.raises(InputError) as raised:
        check_sections([Folders("/proc/x")])
    assert raised.value.source == "/proc/x"


def test_check_folder_leaves_nothing_behind(tmp_path):
    check_folder("--output_dir", tmp_path / "some" / "more", written=True)
    check_folder("--output_dir", tmp_path, written=True)
    assert list(tmp_path.iterdir()) == []
