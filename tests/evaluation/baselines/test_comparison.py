# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score
from statsmodels.stats.multitest import multipletests

from mser_llm.data.schema import new_row
from mser_llm.evaluation.baselines.baseline_systems import chance_level
from mser_llm.evaluation.baselines.comparison import System, compare_systems, markdown, write_comparison
from mser_llm.evaluation.labeled_clips import LabeledClips


WORDS = ("neutral", "happy", "sad", "angry")


def clips(corpus, speakers=8, seed=0):
    truths = np.random.default_rng(seed).permutation([word for word in WORDS for _ in range(20)]).tolist()
    rows = [new_row(id=str(i), path="x", corpus=corpus, speaker=f"{corpus}-{i % speakers}") for i in range(80)]
    return LabeledClips([corpus] * 80, rows, truths)


def predict_with_errors(given, wrong, seed=0):
    """Return predictions with about this share of errors."""
    random = np.random.default_rng(seed)
    predicted = [random.choice(WORDS) if random.random() < wrong else truth for truth in given.truths]
    return given.to_predictions(WORDS, predicted)


@pytest.fixture
def table():
    tests = {"german": clips("german"), "italian": clips("italian", seed=1)}
    systems = [
        System(name, detail, {corpus: predict_with_errors(given, wrong, seed) for corpus, given in tests.items()})
        for seed, (name, detail, wrong) in enumerate([("bad", "", 1.0), ("good", "C = 1", 0.3), ("best", "", 0.2)])
    ]
    guessed = {corpus: chance_level(given, WORDS) for corpus, given in tests.items()}
    return systems, compare_systems(systems, guessed, resamples=400)


def test_compare_systems_matches_scikit_learn(table):
    systems, results = table
    for corpus in ("german", "italian"):
        rows = results["corpora"][corpus]
        assert [row["system"] for row in rows] == ["chance", "bad", "good", "best"]
        assert rows[0]["UA"] == 0.25 and rows[0]["against"] is None and rows[-1]["against"] is None
        for system, row in zip(systems, rows[1:], strict=True):
            predicted = system.predictions[corpus]
            assert row["UA"] == pytest.approx(balanced_accuracy_score(predicted.truths, predicted.predicted))
            assert row["macro_F1"] == pytest.approx(f1_score(predicted.truths, predicted.predicted, average="macro"))
            assert row["intervals"]["UA"][0] <= row["UA"] <= row["intervals"]["UA"][1]


def test_compare_systems_corrects_over_all_corpora(table):
    _, results = table
    against = [row["against"] for rows in results["corpora"].values() for row in rows if row["against"]]
    assert len(against) == 4 and {of["system"] for of in against} == {"best"}
    expected = multipletests([of["p"] for of in against], method="holm")[1]
    assert [of["p_holm"] for of in against] == pytest.approx(expected)
    bad, good = (results["corpora"]["german"][place]["against"] for place in (1, 2))
    assert bad["difference"] < -0.4 and bad["high"] < 0 and bad["p_holm"] < 0.05
    assert bad["difference"] < good["difference"]


def test_compare_systems_uses_shared_clips(table):
    systems, _ = table
    fewer = systems[0].predictions["german"].subset(range(60))
    pair = [System("few", "", {"german": fewer}), System("all", "", {"german": systems[2].predictions["german"]})]
    results = compare_systems(pair, {"german": chance_level(clips("german"), WORDS)}, resamples=100)
    _, few, every = results["corpora"]["german"]
    assert (few["n"], every["n"], few["against"]["n"]) == (60, 80, 60)
    own = systems[2].predictions["german"].subset(range(60)).metrics()["UA"]
    assert few["against"]["difference"] == pytest.approx(few["UA"] - own)


def cells(text: str, first: str) -> list[str]:
    """Return the cells of the first Markdown row that begins with a cell."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")
    ]
    return next(row for row in rows if row[0] == first)


def test_compare_systems_of_one_speaker_has_no_intervals():
    given = clips("german", speakers=1)
    systems = [
        System(name, "", {"german": predict_with_errors(given, wrong)}) for name, wrong in (("one", 0.5), ("two", 0.1))
    ]
    results = compare_systems(systems, {"german": chance_level(given, WORDS)}, resamples=100)
    one = results["corpora"]["german"][1]
    assert one["intervals"] is None and one["against"]["p"] is None
    assert cells(markdown(results), "one")[1:3] == ["80", f"{one['UA']:.3f}"]


def test_write_comparison_writes_tables_and_leaks(table, tmp_path):
    _, results = table
    leak = {"found": True, "clips": 7, "tested": 160}
    written = write_comparison({**results, "leak": {"best": leak, "baselines": {**leak, "found": False}}}, tmp_path)
    text = written.read_text(encoding="utf-8")
    leaks = [line for line in text.splitlines() if line.startswith("Leak")]
    assert len(leaks) == 1 and "best" in leaks[0] and "7 of 160" in leaks[0]
    good = results["corpora"]["italian"][2]
    italian = text[text.index("## italian") :]
    assert cells(italian, "good (C = 1)")[2].startswith(f"{good['UA']:.3f} [")
    assert json.loads((tmp_path / "baselines.json").read_text())["corpora"] == json.loads(
        json.dumps(results["corpora"])
    )
    assert len((tmp_path / "baselines.csv").read_text().splitlines()) == 1 + 2 * 4
