# SPDX-License-Identifier: Apache-2.0
"""Result files, the table and the picture."""

import json
import re
from pathlib import Path

import pytest
from matplotlib.image import imread

from benchmarks.suite.picture import draw
from benchmarks.suite.report import BEGIN, END, machine, markdown, table, write_into_page, write_report
from benchmarks.suite.rounds import Comparison
from benchmarks.suite.scaling import Curve


COMPARISONS = [
    Comparison("speed", [30.0, 40.0, 50.0], [4.0, 5.0, 6.0], "clips/s", "more", ">= 8"),
    Comparison("cost", [2.0], [1234.5], "MB", "less"),
    Comparison("part", [0.2, 0.2], [1.0, 1.0], "s", "share", "<= 0.1", {"reason": "known"}),
]


def test_results_are_written_with_the_machine(tmp_path: Path):
    write_report(tmp_path / "new", COMPARISONS, machine("cpu"), {"rounds": 3})
    results = json.loads((tmp_path / "new" / "bench.json").read_text())
    assert results[0] == {"name": "speed", "ours": 40.0, "other": 5.0, "ratio": 8.0, "unit": "clips/s"}
    assert [set(line) for line in results] == [{"name", "ours", "other", "ratio", "unit"}] * 3
    details = json.loads((tmp_path / "new" / "bench_details.json").read_text())
    assert details["machine"]["processor"] and details["machine"]["versions"]["torch"]
    assert details["sizes"] == {"rounds": 3}
    assert [line["met"] for line in details["comparisons"]] == [True, None, False]
    assert details["comparisons"][0]["rounds"] == {"ours": [30.0, 40.0, 50.0], "other": [4.0, 5.0, 6.0]}
    assert details["comparisons"][2]["facts"] == {"reason": "known"}


def test_table_shows_ratio_spread_and_target():
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table(COMPARISONS).splitlines()]
    assert rows[2] == ["speed", "40", "5", "clips/s", "8", "7.5 to 8.33", ">= 8, met"]
    assert rows[3] == ["cost", "2", "1234", "MB", "617", "", ""]
    assert rows[4] == ["part", "0.2", "1", "s", "0.2", "0.2 to 0.2", "<= 0.1, missed"]


def test_page_changes_only_between_its_markers(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    for _ in range(2):  # repeated with the same result
        write_into_page(page, markdown(COMPARISONS, machine("cpu")))
        text = page.read_text()
        assert text.startswith(f"before\n{BEGIN}\n\n") and text.endswith(f"\n\n{END}\nafter\n")
        assert "old" not in text and text.count("| speed") == 1


@pytest.mark.parametrize("text", ["nothing", f"{BEGIN}\n", f"{END}\n{BEGIN}\n"])
def test_page_without_markers_is_unchanged(tmp_path: Path, text: str):
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(ValueError, match=re.escape(str(page))):
        write_into_page(page, "new")
    assert page.read_text() == text


@pytest.mark.parametrize("curves", [0, 2])
def test_picture_with_and_without_curves(tmp_path: Path, curves: int):
    curve = Curve("length", "second", (1.0, 2.0, 4.0), (1.0, 2.0, 9.0), ((1.0,), (2.0,), (9.0,)))
    draw(tmp_path / "bench.png", COMPARISONS, [curve] * curves)
    height, width, _ = imread(tmp_path / "bench.png").shape
    assert width > 1000 and height > (600 if curves else 200)
