# SPDX-License-Identifier: Apache-2.0
"""Tables as Markdown, LaTeX, text and CSV."""

import csv

import pytest

from mser_llm.evaluation.tables import escape_latex, format_metric, format_table, write_csv


HEADERS, ROWS = ["system", "UA"], [["a|b_c", "0.5 ± 0.1"], ["d", ""]]


def test_format_table_aligns_text_left_and_numbers_right():
    assert format_table(HEADERS, ROWS, "text").splitlines() == [
        "system         UA",
        "a|b_c   0.5 ± 0.1",
        "d",
    ]
    lines = format_table(HEADERS, ROWS).splitlines()
    assert [cell.strip() for cell in lines[2].split(" | ")] == [r"| a\|b_c", "0.5 ± 0.1 |"]
    assert lines[1].startswith("|:-") and lines[1].endswith("-:|")


def test_format_table_escapes_latex():
    text = format_table(HEADERS, ROWS, "latex")
    assert text.startswith(r"\begin{tabular}{lr}") and r"a|b\_c" in text and r"0.5 $\pm$ 0.1 \\" in text
    assert escape_latex("50 % − {x}") == r"50 \% $-$ \{x\}"


def test_format_metric_shows_what_is_known():
    assert format_metric(None) == "–"
    assert format_metric(0.5, 0.01, (0.4, 0.6)) == "0.500 ± 0.010 [0.400, 0.600]"


def test_write_csv_rejects_unknown_columns(tmp_path):
    write_csv(tmp_path / "t.csv", ["a", "b"], [{"a": 1}, {"a": "x,y", "b": None}])
    assert list(csv.reader((tmp_path / "t.csv").open())) == [["a", "b"], ["1", ""], ["x,y", ""]]
    with pytest.raises(ValueError):
        write_csv(tmp_path / "t.csv", ["a"], [{"c": 1}])
    assert len((tmp_path / "t.csv").read_text().splitlines()) == 3
