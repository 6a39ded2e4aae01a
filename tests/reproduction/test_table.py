# SPDX-License-Identifier: Apache-2.0
"""The lines and differences of a table, and its files."""

import csv
import io
import json

import numpy as np
import pytest

from mser_llm.evaluation.predictions import Predictions
from mser_llm.evaluation.protocols import Published
from mser_llm.reproduction.published import METRICS, TABLE_2_PROTOCOL, published_rows
from mser_llm.reproduction.systems import EFFECTS, FULL, SYSTEMS, Effect, steps_of
from mser_llm.reproduction.table import Table, differences, measured_line, published_line, summarize_effects
from mser_llm.reproduction.writers import latex, write_table


WORDS = ("happy", "sad")


def predict(right: float, seed: int, speakers: int = 12, clips: int = 30) -> Predictions:
    """Predictions that are right for a share of the clips."""
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


def test_six_systems_take_six_steps():
    assert list(SYSTEMS) == list(published_rows(TABLE_2_PROTOCOL, "Table II"))
    steps = steps_of(SYSTEMS.values())
    assert len({step.name for step in steps}) == len(steps) == 6
    for step in steps:
        assert step.after is None or steps.index(step.after) < steps.index(step)
    assert [step.stage for step in FULL.last.chain] == ["1", "2"] and all(step.contrast for step in FULL.last.chain)
    assert {name for effect in EFFECTS for name in (effect.without, effect.having)} == set(SYSTEMS)


def test_effects_change_only_their_choice():
    for effect in EFFECTS:
        without, having = (SYSTEMS[name].last for name in (effect.without, effect.having))
        contrast = [step.contrast for step in (without, having)]
        stages = [[step.stage for step in last.chain] for last in (without, having)]
        if effect.choice == "contrast":
            assert contrast == [False, True] and stages[0] == stages[1]
        else:
            assert contrast[0] == contrast[1]
            assert stages == [["joint"], ["1", "2"]] if effect.choice == "second stage" else [["1"], ["joint"]]


def test_differences_find_a_planted_effect_only():
    runs = {
        "A": [predict(0.6, 0), predict(0.6, 1)],
        "B": [predict(0.9, 2), predict(0.9, 3)],
        "C": [predict(0.6, 4), predict(0.6, 5)],
    }
    effects = (Effect("contrast", "A", "B"), Effect("contrast", "A", "C"))
    paper = {
        name: published_line([Published(name, "UA", ua, "")], "", 2, "") for name, ua in (("A", 0.5), ("B", 0.519))
    }
    found = differences(effects, runs, paper, metrics=("UA",))
    by_name = {one.having: one for one in found}
    expected = np.mean([run.metrics()["UA"] for run in runs["B"]]) - np.mean(
        [run.metrics()["UA"] for run in runs["A"]]
    )
    assert by_name["B"].difference == pytest.approx(expected)
    assert by_name["B"].low > 0.2 and by_name["B"].p_holm == pytest.approx(2 * by_name["B"].p)
    assert by_name["B"].published == pytest.approx(0.019) and by_name["C"].published is None
    assert by_name["C"].low < 0 < by_name["C"].high
    (summary,) = summarize_effects(found)
    assert "B over A" in summary and "C over A" not in summary


def test_differences_of_one_speaker_have_no_interval():
    runs = {"A": [predict(0.1, 0, speakers=1)], "B": [predict(0.9, 1, speakers=1)]}
    (one,) = differences((Effect("contrast", "A", "B"),), runs, {}, metrics=("UA",))
    assert (one.low, one.high, one.p, one.p_holm) == (None, None, None, None)
    assert "B over A" not in summarize_effects([one])[0]


@pytest.fixture
def table() -> Table:
    runs = {"A_1": [predict(0.6, 0), predict(0.7, 1)], "B": [predict(0.8, 2), predict(0.9, 3)]}
    ours = measured_line("A_1", runs["A_1"], "base | tiny", "ravdess 672", leak="2 speaker(s) & more")
    numbers = [Published("A_1", "UA", 0.488, "Table II"), Published("A_1", "WA", 0.597, "Table II")]
    paper = published_line(numbers, "IEMOCAP", 7, "English")
    found = differences((Effect("contrast", "A_1", "B"),), runs, {}, metrics=("UA",))
    return Table("A title", [ours, paper], METRICS, found, ["100 % of it_all"])


def test_write_table_writes_the_same_numbers_in_every_format(table: Table, tmp_path):
    text = write_table(table, tmp_path / "new", "table9")
    files = {path.suffix: path.read_text(encoding="utf-8") for path in (tmp_path / "new").iterdir()}
    assert sorted(files) == [".csv", ".json", ".md", ".tex"] and files[".md"] == text
    ours = table.lines[0].figures["UA"]
    shown = f"{100 * ours.mean:.1f} ± {100 * ours.std:.1f} [{100 * ours.low:.1f}, {100 * ours.high:.1f}]"
    assert shown in text and "A_1 (LEAK)" in text
    assert shown.replace("±", r"$\pm$") in files[".tex"]
    (first, second) = csv.DictReader(io.StringIO(files[".csv"]))
    for part in ("mean", "std", "low", "high"):
        assert float(first[f"UA_{part}"]) == pytest.approx(getattr(ours, part), abs=1e-6)
    assert (second["UA_mean"], second["UA_low"], second["WF1_mean"]) == ("0.488000", "", "")
    assert first["leak"] == "2 speaker(s) & more"
    content = json.loads(files[".json"])
    assert content["lines"][1]["place"] == "arXiv 2503.21806, Table II"
    assert content["lines"][0]["figures"]["UA"]["mean"] == ours.mean


def test_latex_is_escaped_and_complete(table: Table):
    text = latex(table)
    assert r"A\_1" in text and r"100 \% of it\_all" in text
    for environment in ("tabular", "itemize"):
        assert text.count(rf"\begin{{{environment}}}") == text.count(rf"\end{{{environment}}}") >= 1
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {line.count("&") - line.count(r"\&") for line in rows} == {len(METRICS) + 6, 8}
    assert not any(ord(character) > 127 for character in text)
