# SPDX-License-Identifier: Apache-2.0
"""The table and its writers: every number of a line is found in every format, and a difference is told as it is."""

import csv
import io
import json

import numpy as np
import pytest

from mser_llm.evaluation.predictions import Predictions
from mser_llm.evaluation.protocols import Published
from mser_llm.reproduction.published import METRICS, TABLE_2_PROTOCOL, published_rows
from mser_llm.reproduction.systems import EFFECTS, FULL, SYSTEMS, Effect, steps_of
from mser_llm.reproduction.table import Table, differences, measured_line, published_line, summarize_effect
from mser_llm.reproduction.writers import comma_separated, latex, markdown, write_table


WORDS = ("happy", "sad")


def answers(right: float, seed: int, speakers: int = 12, clips: int = 30) -> Predictions:
    """A system that is right on a share of the clips."""
    rng = np.random.default_rng(seed)
    truths = [WORDS[number % 2] for number in range(speakers * clips)]
    hits = rng.random(len(truths)) < right
    wrong = {"happy": "sad", "sad": "happy"}
    return Predictions(
        WORDS,
        ["emodb"] * len(truths),
        [str(number) for number in range(len(truths))],
        truths,
        [truth if hit else wrong[truth] for truth, hit in zip(truths, hits, strict=True)],
        speakers=[f"s{number // clips}" for number in range(len(truths))],
    )


def test_the_six_systems_need_six_steps_and_the_paper_has_each():
    assert list(SYSTEMS) == list(published_rows(TABLE_2_PROTOCOL, "Table II"))
    steps = steps_of(SYSTEMS.values())
    assert len({step.name for step in steps}) == len(steps) == 6
    for step in steps:
        assert step.after is None or steps.index(step.after) < steps.index(step)
    assert [step.stage for step in FULL.last.chain] == ["1", "2"] and all(step.contrast for step in FULL.last.chain)
    assert {name for effect in EFFECTS for name in (effect.without, effect.having)} == set(SYSTEMS)


def test_an_effect_changes_nothing_but_its_choice():
    for effect in EFFECTS:
        without, having = (SYSTEMS[name].last for name in (effect.without, effect.having))
        contrast = [step.contrast for step in (without, having)]
        stages = [[step.stage for step in last.chain] for last in (without, having)]
        if effect.choice == "contrast":
            assert contrast == [False, True] and stages[0] == stages[1]
        else:
            assert contrast[0] == contrast[1]
            assert stages == [["joint"], ["1", "2"]] if effect.choice == "second stage" else [["1"], ["joint"]]


def test_a_planted_difference_is_found_and_a_missing_one_is_not():
    runs = {
        "A": [answers(0.6, 0), answers(0.6, 1)],
        "B": [answers(0.9, 2), answers(0.9, 3)],
        "C": [answers(0.6, 4), answers(0.6, 5)],
    }
    effects = (Effect("contrast", "A", "B"), Effect("contrast", "A", "C"))
    found = differences(effects, runs, {"A": {"UA": 0.5}, "B": {"UA": 0.519}}, metrics=("UA",))
    by_name = {one.having: one for one in found}
    expected = np.mean([run.metrics()["UA"] for run in runs["B"]]) - np.mean(
        [run.metrics()["UA"] for run in runs["A"]]
    )
    assert by_name["B"].difference == pytest.approx(expected)
    assert by_name["B"].low > 0.2 and by_name["B"].p_holm == pytest.approx(2 * by_name["B"].p)
    assert by_name["B"].published == pytest.approx(0.019) and by_name["C"].published is None
    assert by_name["C"].low < 0 < by_name["C"].high
    summary = summarize_effect("contrast", "UA", found)
    assert "B over A" in summary and "C over A" not in summary


def test_one_speaker_gives_no_interval_and_no_claim():
    runs = {"A": [answers(0.1, 0, speakers=1)], "B": [answers(0.9, 1, speakers=1)]}
    (one,) = differences((Effect("contrast", "A", "B"),), runs, {}, metrics=("UA",))
    assert (one.low, one.high, one.p, one.p_holm) == (None, None, None, None)
    assert "B over A" not in summarize_effect("contrast", "UA", [one])


@pytest.fixture
def table() -> Table:
    runs = {"A_1": [answers(0.6, 0), answers(0.7, 1)], "B": [answers(0.8, 2), answers(0.9, 3)]}
    ours = measured_line("A_1", runs["A_1"], "base | tiny", "ravdess 672", "emodb 360", leak="2 speaker(s) & more")
    numbers = [Published("A_1", "UA", 0.488, "Table II"), Published("A_1", "WA", 0.597, "Table II")]
    paper = published_line(numbers, "IEMOCAP", 7, "English")
    found = differences((Effect("contrast", "A_1", "B"),), runs, {}, metrics=("UA",))
    return Table("A title", [ours, paper], METRICS, found, ["100 % of it_all"])


def test_every_format_has_the_same_numbers(table: Table):
    ours = table.lines[0].figures["UA"]
    shown = f"{100 * ours.mean:.1f} ± {100 * ours.std:.1f} [{100 * ours.low:.1f}, {100 * ours.high:.1f}]"
    assert shown in markdown(table)
    assert shown.replace("±", r"$\pm$") in latex(table)
    (first, second) = csv.DictReader(io.StringIO(comma_separated(table)))
    for part in ("mean", "std", "low", "high"):
        assert float(first[f"UA_{part}"]) == pytest.approx(getattr(ours, part), abs=1e-6)
    assert (second["UA_mean"], second["UA_low"], second["WF1_mean"]) == ("0.488000", "", "")
    assert first["leak"] == "2 speaker(s) & more" and "A_1 (LEAK)" in markdown(table)


def test_markdown_columns_are_whole_whatever_a_cell_holds(table: Table):
    for header in ("| system", "| choice"):
        text = markdown(table)
        rows = text[text.index(header) :].split("\n\n")[0].splitlines()
        assert len({row.count("|") for row in rows}) == 1 and len(rows) > 2


def test_latex_escapes_what_latex_would_read(table: Table):
    text = latex(table)
    assert r"A\_1" in text and r"100 \% of it\_all" in text
    for begun in ("tabular", "itemize"):
        assert text.count(rf"\begin{{{begun}}}") == text.count(rf"\end{{{begun}}}") >= 1
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    counts = {line.count("&") - line.count(r"\&") for line in rows}
    assert counts == {len(METRICS) + 6, 8}
    assert not any(ord(character) > 127 for character in text)


def test_all_formats_are_written(table: Table, tmp_path):
    text = write_table(table, tmp_path / "new", "table9")
    assert (tmp_path / "new" / "table9.md").read_text(encoding="utf-8") == text
    content = json.loads((tmp_path / "new" / "table9.json").read_text(encoding="utf-8"))
    assert content["lines"][1]["place"] == "arXiv 2503.21806, Table II"
    assert sorted(path.suffix for path in (tmp_path / "new").iterdir()) == [".csv", ".json", ".md", ".tex"]
