# SPDX-License-Identifier: Apache-2.0
"""`run-mser compare`, from tables of predictions to a line per corpus."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from mser_llm.evaluation.predictions import Predictions, write_predictions
from mser_llm.evaluation.statistics import bootstrap
from mser_llm.evaluation.statistics.bootstrap import paired_difference
from mser_llm.evaluation.statistics.comparison import compare
from run_mser import main


WORDS = ("happy", "sad", "angry")


def system(seed, right, corpora=("emodb", "nemo", "shemo"), speakers=10, clips=12) -> Predictions:
    rng = np.random.default_rng(seed)
    lines = []
    for corpus in corpora:
        for number in range(speakers * clips):
            truth = WORDS[number % 3]
            prediction = truth if rng.random() < right[corpus] else WORDS[(number + 1) % 3]
            lines.append(
                {"corpus": corpus, "id": str(number), "emotion": truth, "prediction": prediction}
                | {"speaker": f"{corpus}-{number // clips}"}
            )
    return Predictions.from_clips(WORDS, lines)


@pytest.fixture
def systems(tmp_path):
    """Write predictions of two systems: one is better on two corpora and equal on the third."""
    good = system(0, {"emodb": 0.8, "nemo": 0.75, "shemo": 0.6})
    plain = system(1, {"emodb": 0.5, "nemo": 0.6, "shemo": 0.6})
    return good, plain, write_predictions(tmp_path / "good" / "predictions.csv", good).parent, tmp_path / "plain.csv"


def test_compare_corrects_over_the_corpora(systems, tmp_path, capsys):
    good, plain, first, second = systems
    write_predictions(second, plain.subset(np.arange(len(plain))[::-1]))
    assert main(["compare", str(first), str(second), "--output", str(tmp_path / "made.json")]) == 0
    result = json.loads((tmp_path / "made.json").read_text())
    assert list(result["corpora"]) == ["emodb", "nemo", "shemo"]
    for name, row in result["corpora"].items():
        a, b = (one.subset([corpus == name for corpus in one.corpora]) for one in (good, plain))
        expected = [balanced_accuracy_score(one.truths, one.predicted) for one in (a, b)]
        assert [row["first"]["mean"], row["second"]["mean"]] == pytest.approx(expected)
        assert row["difference"] == pytest.approx(expected[0] - expected[1])
        assert {key: row[key] for key in ("low", "high", "p")} == {
            key: paired_difference(a, b)[key] for key in ("low", "high", "p")
        }
        right = [np.array(one.predicted) == np.array(one.truths) for one in (a, b)]
        table = [[(right[0] & right[1]).sum(), (right[0] & ~right[1]).sum()], [(~right[0] & right[1]).sum(), 0]]
        assert row["mcnemar"]["exact"] == pytest.approx(mcnemar(table, exact=True).pvalue)
    corrected = multipletests([row["p"] for row in result["corpora"].values()], method="holm")[1]
    assert [row["p_holm"] for row in result["corpora"].values()] == pytest.approx(list(corrected))
    assert result["pooled"]["n"] == len(good)
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed] == ["corpus", "emodb", "nemo", "shemo", "all"]
    assert f"{result['corpora']['emodb']['difference']:+.3f}" in printed[1]
    assert result["corpora"]["emodb"]["p_holm"] < 0.05 < result["corpora"]["shemo"]["p_holm"]


def test_compare_resamples_speakers_for_shown_differences_only(systems, monkeypatch):
    good, plain, *_ = systems
    draws = []
    drawn = bootstrap.resampled
    monkeypatch.setattr(bootstrap, "resampled", lambda *given: draws.append(len(given[0])) or drawn(*given))
    result = compare([good, good], [plain, plain])
    # Two runs of two systems, for each of three corpora and for all of them.
    assert draws == [4] * 4
    assert set(result["pooled"]["first"]) == {"mean", "std", "values"}


def test_compare_treats_runs_as_one_system(systems, tmp_path, capsys):
    _, plain, _, second = systems
    write_predictions(second, plain)
    runs = [system(seed, {"emodb": 0.8, "nemo": 0.7, "shemo": 0.6}) for seed in (2, 3, 4)]
    places = [str(write_predictions(tmp_path / f"{number}.csv", run)) for number, run in enumerate(runs)]
    words = ["compare", ",".join(places), str(second), "--metric", "WA", "--output", str(tmp_path / "made.json")]
    assert main(words) == 0
    result = json.loads((tmp_path / "made.json").read_text())
    expected = [accuracy_score(run.truths, run.predicted) for run in runs]
    assert result["pooled"]["first"]["values"] == pytest.approx(expected)
    assert result["pooled"]["first"]["std"] == pytest.approx(np.std(expected, ddof=1))
    assert result["pooled"]["second"]["std"] is None
    assert "mcnemar" not in result["pooled"]
    assert f"{np.mean(expected):.3f} ± {np.std(expected, ddof=1):.3f}" in capsys.readouterr().out


def test_compare_leaves_out_and_reports_missing_clips(systems, tmp_path, capsys):
    _, plain, first, second = systems
    write_predictions(second, plain.subset([corpus == "nemo" for corpus in plain.corpora]))
    assert main(["compare", str(first), str(second)]) == 0
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()] == ["corpus", "nemo"]
    assert "240 clips are left out" in err
    assert main(["compare", str(second), str(first)]) == 0
    assert "240 clips are left out" in capsys.readouterr().err


def test_compare_accepts_labels_in_another_order(systems, capsys):
    _, plain, first, second = systems
    write_predictions(second, plain)
    assert main(["compare", str(first), str(second)]) == 0
    expected = capsys.readouterr()
    write_predictions(second, replace(plain, labels=WORDS[::-1]))
    assert main(["compare", str(first), str(second)]) == 0
    assert capsys.readouterr() == expected


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["/nowhere"], "/nowhere"),
        ([","], "run of each system"),
        (["SECOND", "--confidence", "95"], "--confidence: 95"),
        (["SECOND", "--resamples", "1"], "resamples: 1"),
        (["SECOND"], "share no clip"),
    ],
)
def test_compare_errors_are_one_line_and_status_2(more, message, systems, tmp_path, capsys):
    *_, first, second = systems
    write_predictions(second, system(5, {"demo": 0.5}, corpora=["demo"]))
    assert main(["compare", str(first), *[str(second) if word == "SECOND" else word for word in more]]) == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert len(errors.strip().splitlines()) == 1
