# SPDX-License-Identifier: Apache-2.0
"""A file where a folder is to be made is told before anything is measured."""

import os
from pathlib import Path

import pytest

from mser_llm.cli.output_folders import check_folder, check_writable
from run_mser import main


MEASURING = {
    "evaluate": ["--model", "nowhere", "--corpora", "emodb=nowhere"],
    "robustness": ["--model", "nowhere", "--corpora", "emodb=nowhere"],
    "baselines": ["--train", "emodb=nowhere", "--test", "nemo=nowhere"],
    "probe": ["--encoder", "nowhere", "--corpora", "emodb=nowhere", "--test", "nemo=nowhere"],
    "reproduce": ["table2", "--test", "emodb=nowhere"],
    "train": ["tiny/stage1", "--corpora", "emodb=nowhere"],
    "demo": [],
    "m5ser build": ["--corpora", "emodb=nowhere"],
    "m5ser analyse": ["nowhere"],
}
CACHING = ("evaluate", "baselines", "probe", "reproduce", "train")
FLAGS = [(name, "--output_dir") for name in MEASURING] + [(name, "--cache_dir") for name in CACHING]


@pytest.mark.parametrize(("name", "flag"), FLAGS)
@pytest.mark.parametrize("below", [".", "some/more"])
def test_a_file_in_the_way_is_one_line_with_the_cure(name, flag, below, tmp_path, capsys):
    taken = tmp_path / "taken"
    taken.write_text("a file")
    assert main([*name.split(), *MEASURING[name], flag, str(taken / below)]) == 2
    error = capsys.readouterr().err.strip()
    assert f"{taken}: is no folder; give another {flag}, or move it away" in error and "\n" not in error
    assert taken.read_text() == "a file"


def test_a_folder_that_is_there_or_can_be_made_is_taken(tmp_path):
    check_folder("--output_dir", tmp_path)
    check_folder("--output_dir", tmp_path / "some" / "more")
    assert not (tmp_path / "some").exists()
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    with pytest.raises(ValueError, match="link: is no folder"):
        check_folder("--output_dir", tmp_path / "link" / "more")


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="there is no /proc")
@pytest.mark.parametrize("name", MEASURING)
def test_an_output_dir_that_cannot_be_created_is_reported_first(name, capsys):
    assert main([*name.split(), *MEASURING[name], "--output_dir", "/proc/x"]) == 2
    error = capsys.readouterr().err.strip()
    assert "/proc/x: cannot be written" in error and "pass another --output_dir" in error and "\n" not in error


def test_checking_an_output_dir_leaves_nothing_behind(tmp_path):
    check_writable("--output_dir", tmp_path / "some" / "more")
    check_writable("--output_dir", tmp_path)
    assert os.listdir(tmp_path) == []
