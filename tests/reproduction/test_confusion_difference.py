# SPDX-License-Identifier: Apache-2.0
"""The difference of two confusion matrices, overall and by gender."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix
from tone_corpus import write_tones

from mser_llm.evaluation.predictions import Predictions
from mser_llm.reproduction.confusion_difference import ALL, confusion_differences, write_confusion_differences
from mser_llm.reproduction.published import CONFUSION_DIFFERENCE, CONFUSION_DIFFERENCE_CLIPS
from run_mser import main


WORDS = ("angry", "happy", "sad")


def predict(right: dict[str, float], seed: int) -> Predictions:
    """Create 30 clips for each of 20 speakers; accuracy depends on the gender."""
    rng = np.random.default_rng(seed)
    speakers = [f"s{number // 30}" for number in range(600)]
    genders = [("female", "male")[number // 30 % 2] for number in range(600)]
    truths = [WORDS[number % 3] for number in range(600)]
    given = [
        truth if rng.random() < right[gender] else "unparsed" if rng.random() < 0.2 else str(rng.choice(WORDS))
        for truth, gender in zip(truths, genders)
    ]
    ids = [str(number) for number in range(600)]
    return Predictions(WORDS, ["urdu"] * 600, ids, truths, given, speakers=speakers, genders=genders)


def test_differences_by_gender_show_what_the_average_hides(tmp_path: Path):
    baseline = [predict({"female": 0.8, "male": 0.5}, seed) for seed in (0, 1)]
    other = [predict({"female": 0.5, "male": 0.8}, seed) for seed in (2, 3)]
    found = {one.group: one for one in confusion_differences(baseline, other)}
    assert list(found) == [ALL, "female", "male"] and [one.n for one in found.values()] == [600, 300, 300]
    assert found[ALL].UA["low"] < 0 < found[ALL].UA["high"]
    assert found["female"].UA["high"] < 0 < found["male"].UA["low"]
    for gender, one in found.items():
        parts = []
        for run in (*other, *baseline):
            chosen = [number for number in range(600) if gender in (ALL, run.genders[number])]
            truths, given = ([values[number] for number in chosen] for values in (run.truths, run.predicted))
            counts = confusion_matrix(truths, given, labels=[*WORDS, "unparsed"])[:3]
            parts.append((counts / counts.sum(axis=1, keepdims=True))[:, :3])
        assert one.difference == pytest.approx((parts[0] + parts[1] - parts[2] - parts[3]) / 2)
    text = write_confusion_differences(list(found.values()), WORDS, tmp_path, {}).replace(" ", "")
    assert "|sadness" not in text and "|sad|+0|+0|−42|+42|" in text
    assert f"|angry|{100 * found['female'].difference[0, 0]:+.0f}|".replace("-", "−") in text
    # All tables use the same minus sign.
    assert "UA−" in text and not re.search(r"-\d", text)
    written = json.loads((tmp_path / "lowresource-table2.json").read_text(encoding="utf-8"))
    assert written["groups"][1]["difference"][0][0] == pytest.approx(found["female"].difference[0, 0])


def test_published_entries_are_clips():
    """Read as clips, Table 2 agrees with the accuracy and UAR of Table 1."""
    right, clips = np.diag(CONFUSION_DIFFERENCE), np.array(CONFUSION_DIFFERENCE_CLIPS)
    assert right.sum() / clips.sum() == pytest.approx(0.906 - 0.776, abs=0.0005)
    assert (right / clips).mean() == pytest.approx(0.896 - 0.758, abs=0.0006)


def test_label_without_clips_has_empty_row(tmp_path: Path):
    one = predict({"female": 0.8, "male": 0.5}, 0)
    partial = one.subset([truth != "sad" for truth in one.truths])
    found = confusion_differences([partial], [partial])
    assert np.isnan(found[0].difference[2]).all() and (found[0].difference[:2] == 0).all()
    assert "|sad|–|–|–|" in write_confusion_differences(found, WORDS, tmp_path, {}).replace(" ", "")


def test_command_needs_equally_many_models(tiny_model_dir: Path, tmp_path: Path, capsys):
    speech = write_tones(tmp_path / "speech", {"s0": "ur", "s1": "ur"}, takes=1)
    words = ["reproduce", "lowresource-table2", "--test", f"folder={speech}", "--labels", "four"]
    words += ["--output_dir", str(tmp_path / "out"), "--models", str(tiny_model_dir)]
    assert main(words) == 2
    assert "--models" in capsys.readouterr().err
    assert main([*words, str(tiny_model_dir)]) == 0
    printed = capsys.readouterr().out
    assert "all, 8 clips, UA +0.0" in printed and "female, 4 clips" in printed and "Table 2" in printed
    assert "not checked: " in printed and "train_results.json" in printed and "LEAK" not in printed


def test_leaking_model_is_rejected_or_marked(tiny_model_dir: Path, tmp_path: Path, capsys):
    speech = write_tones(tmp_path / "speech", {"s0": "ur", "s1": "ur"}, takes=1)
    model = tmp_path / "model"
    shutil.copytree(tiny_model_dir, model)
    trained_on = {"speakers": ["folder-s1"], "recordings": [], "corpora": ["folder"], "languages": ["ur"]}
    record = {"data": {"heard": trained_on}}
    (model / "train_results.json").write_text(json.dumps(record), encoding="utf-8")
    words = ["reproduce", "lowresource-table2", "--test", f"folder={speech}", "--labels", "four"]
    # A leak of the second model is found before the first is evaluated.
    words += ["--output_dir", str(tmp_path / "out"), "--models", str(tiny_model_dir), str(model)]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert str(model) in error and "folder-s1" in error and "--allow_leak" in error
    assert not (tmp_path / "out").exists()
    assert main([*words, "--allow_leak"]) == 0
    assert f"LEAK: {model}: 1 speaker(s)" in capsys.readouterr().out
    leak = json.loads((tmp_path / "out" / "lowresource-table2.json").read_text(encoding="utf-8"))["leak"]
    assert leak[str(model)]["speakers"] == ["folder-s1"] and leak[str(model)]["clips"] == 4
    assert not leak[str(tiny_model_dir)]["found"]
