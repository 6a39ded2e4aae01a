# SPDX-License-Identifier: Apache-2.0
"""A complete run with a small model: resuming, rejected settings, metrics."""

import csv
import json
import re
import shutil
from collections import Counter

import numpy as np
import pytest
import soundfile
from statsmodels.stats.multitest import multipletests

from mser_llm.data.schema import new_row
from mser_llm.evaluation.labeled_clips import LabeledClips
from mser_llm.evaluation.predictions import Predictions
from mser_llm.evaluation.robustness.conditions import CONDITIONS, select_conditions
from mser_llm.evaluation.robustness.measurement import (
    ConditionPredictions,
    RobustnessError,
    predict_all,
    robustness_metrics,
    sample_clips,
)
from mser_llm.evaluation.robustness.perturbation import ClipPerturber
from mser_llm.evaluation.robustness.results import markdown, robustness_figure, write_robustness
from processing_mser import SAMPLING_RATE


WORDS = ("neutral", "happy", "sad", "angry")
NAMES = ["white", "truncation", "telephone"]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech")
    chance = np.random.default_rng(0)
    rows, truths = [], []
    for number in range(8):
        path = folder / f"{number}.wav"
        seconds = 1.5 if number < 5 else 2.5
        soundfile.write(path, 0.1 * chance.standard_normal(int(seconds * SAMPLING_RATE)), SAMPLING_RATE)
        truths.append(WORDS[number % 4])
        rows.append(new_row(id=str(number), path=path, corpus="toy", emotion=truths[-1], speaker=f"s{number % 3}"))
    return LabeledClips(["toy"] * 8, rows, truths)


def run(clips, folder, load, **settings):
    conditions = select_conditions(NAMES)
    return predict_all(load, clips, ClipPerturber(clips), conditions, WORDS, folder, settings, progress=False)


def never():
    raise AssertionError("loaded for nothing")


@pytest.fixture(scope="module")
def complete(clips, make_tiny, tmp_path_factory):
    """A complete run: its folder and its predictions."""
    folder = tmp_path_factory.mktemp("complete")
    return folder, run(clips, folder, make_tiny, seed=0)


@pytest.fixture
def folder(complete, tmp_path):
    """A copy of the complete run."""
    return shutil.copytree(complete[0], tmp_path / "run")


def contents(folder):
    return {path.name: path.read_bytes() for path in (folder / "predictions").iterdir()}


def test_predict_all_resumes_with_missing_levels(clips, complete, folder, tiny):
    kept = contents(folder)
    assert len(kept) == 1 + sum(len(CONDITIONS[name].levels) for name in NAMES)
    run(clips, folder, never, seed=0)
    for name in ("white_5", "truncation_1"):
        (folder / "predictions" / f"{name}.csv").unlink()
    loads = []
    again = run(clips, folder, lambda: loads.append(1) or tiny, seed=0)
    assert len(loads) == 1
    assert kept == contents(folder)
    assert again.perturbed["white"][5.0].predicted == complete[1].perturbed["white"][5.0].predicted


@pytest.mark.parametrize("torn", ["rows", "line", "another", "twice", "noise"])
def test_predict_all_rewrites_incomplete_files(torn, clips, folder, tiny):
    path = folder / "predictions" / "white_0.csv"
    original = path.read_text(encoding="utf-8")
    header, *lines = original.splitlines(keepends=True)
    kept = {"rows": lines[:3], "another": [*lines[:-1], lines[-1].replace("toy,7", "toy,8")]}
    kept |= {"line": [*lines[:-1], lines[-1][:-20]], "twice": [*lines, lines[0]], "noise": []}
    assert kept["another"] != lines
    path.write_text("".join([header if torn != "noise" else "noise", *kept[torn]]), encoding="utf-8")
    again = run(clips, folder, lambda: tiny, seed=0)
    assert path.read_text(encoding="utf-8") == original
    assert again.perturbed["white"][0.0].ids == again.clean.ids


def test_predict_all_rejects_other_or_damaged_settings(clips, folder):
    settings = folder / "settings.json"
    with pytest.raises(RobustnessError, match=r"\(seed\).*--output_dir"):
        run(clips, folder, never, seed=1)
    for content in ('{"a": "\n', "[1]", "\udcff", None):
        settings.unlink() if content is None else settings.write_bytes(content.encode("utf-8", "surrogateescape"))
        with pytest.raises(RobustnessError) as caught:
            run(clips, folder, never, seed=0)
        assert caught.value.source == str(settings)


def test_unchanged_clips_have_equal_scores(complete):
    _, predicted = complete
    seconds = np.array([1.5 if int(clip) < 5 else 2.5 for clip in predicted.clean.ids])
    for level, of in predicted.perturbed["truncation"].items():
        same = np.isclose(of.scores, predicted.clean.scores, atol=2e-6).all(axis=1)
        assert np.array_equal(same, seconds <= level)


def test_predict_all_leaves_out_unreadable_clips(clips, tiny, tmp_path):
    missing = clips.rows[2] | {"audio": {"bytes": None, "path": str(tmp_path / "missing.wav")}}
    broken = LabeledClips(clips.corpora, [*clips.rows[:2], missing, *clips.rows[3:]], clips.truths)
    predicted = run(broken, tmp_path, lambda: tiny, seed=0)
    assert all("2" not in of.ids and len(of) == 7 for of in predicted.perturbed["white"].values())
    with open(tmp_path / "predictions" / "white_0.csv", encoding="utf-8", newline="") as file:
        (error_line,) = [line for line in csv.DictReader(file) if line["error"]]
    assert error_line["id"] == "2" and "missing.wav" in error_line["error"]
    assert run(broken, tmp_path, never, seed=0).clean.ids == predicted.clean.ids


def predictions(right):
    """Return predictions of forty clips by ten speakers; the first `right` of each emotion are correct."""
    truths = [WORDS[i % 4] for i in range(40)]
    predicted = [truth if i // 4 < right else WORDS[(i + 1) % 4] for i, truth in enumerate(truths)]
    speakers = [f"s{i % 10}" for i in range(40)]
    return Predictions(WORDS, ["toy"] * 40, [str(i) for i in range(40)], truths, predicted, speakers=speakers)


@pytest.fixture
def results():
    levels = CONDITIONS["white"].levels
    predicted = ConditionPredictions(
        predictions(9),
        {
            "white": {level: predictions(right) for level, right in zip(levels, (9, 8, 6, 4, 2))},
            "truncation": {4.0: predictions(9), 2.0: predictions(9), 1.0: predictions(5)},
            "telephone": {8.0: predictions(7)},
        },
    )
    seconds = {("toy", str(i)): 1.5 + (i % 2) for i in range(40)}
    return robustness_metrics(predicted, select_conditions(NAMES), seconds, resamples=500)


def test_robustness_metrics_compare_with_clean_clips(results):
    assert results["clean"]["toy"]["UA"] == pytest.approx(0.9)
    white = [level["corpora"]["toy"] for level in results["conditions"]["white"]["levels"]]
    assert [level["UA"] for level in white] == pytest.approx([0.9, 0.8, 0.6, 0.4, 0.2])
    assert [level["against_clean"]["difference"] for level in white] == pytest.approx([0, -0.1, -0.3, -0.5, -0.7])
    assert all(level["intervals"]["UA"][0] <= level["UA"] <= level["intervals"]["UA"][1] for level in white)
    touched = [level["corpora"]["toy"]["touched"] for level in results["conditions"]["truncation"]["levels"]]
    assert touched == [0, 20, 40]


def test_robustness_p_values_are_corrected_jointly(results):
    levels = [level for condition in results["conditions"].values() for level in condition["levels"]]
    against = [level["corpora"]["toy"]["against_clean"] for level in levels]
    expected = multipletests([of["p"] for of in against], method="holm")[1]
    assert [of["p_holm"] for of in against] == pytest.approx(expected)


def test_write_robustness_writes_all_formats(results, tmp_path):
    written = write_robustness(results, tmp_path)
    assert json.loads((tmp_path / "robustness.json").read_text()) == json.loads(json.dumps(results))
    table = written.read_text()
    assert table == markdown(results)
    assert re.search(r"\| white noise, .* \| +0 \| 0\.200 \[", table)
    assert re.search(r"\| .*\(s\) +\| 2 \(20 clips changed\) \| 0\.900 \[", table)
    lines = (tmp_path / "robustness.csv").read_text().splitlines()
    assert len(lines) == 1 + 1 + 5 + 3 + 1
    assert (tmp_path / "robustness.png").read_bytes().startswith(b"\x89PNG")


def test_robustness_of_some_labels_and_clips():
    """Two of the four labels occur, and five clips are unreadable under the condition."""
    some = predictions(9).subset([truth in ("happy", "sad") for truth in predictions(9).truths])
    predicted = ConditionPredictions(some, {"telephone": {8.0: some.subset(range(5, 20))}})
    metrics = robustness_metrics(predicted, select_conditions(["telephone"]), {}, resamples=200)
    dashed = [line for line in robustness_figure(metrics).axes[0].lines if line.is_dashed()]
    assert [set(line.get_ydata()) for line in dashed if len(line.get_ydata())] == [{0.25}], "chance of all labels"
    assert metrics["conditions"]["telephone"]["levels"][0]["corpora"]["toy"]["unanswered"] == 5
    assert re.search(r"\| telephone band .*5 clips", markdown(metrics))


def test_sample_clips_is_balanced_and_nested(clips):
    rows = [new_row(id=f"{corpus}{i}", path="x", corpus=corpus) for corpus in ("a", "b") for i in range(60)]
    truths = [("sad" if i < 40 else "happy" if i < 55 else "angry") for _ in ("a", "b") for i in range(60)]
    many = LabeledClips([row["corpus"] for row in rows], rows, truths)
    sample = sample_clips(many, 20, seed=1)
    counts = Counter(zip(sample.corpora, sample.truths))
    assert len(sample) == 40
    assert all(counts[corpus, "angry"] == 5 for corpus in "ab")
    assert all(abs(counts[corpus, "sad"] - counts[corpus, "happy"]) <= 1 for corpus in "ab")
    ids = [row["id"] for row in sample.rows]
    assert ids == [row["id"] for row in rows if row["id"] in set(ids)]
    assert {row["id"] for row in sample_clips(many, 10, seed=1).rows} < set(ids)
    assert sample_clips(many, 0, seed=1) is many
