# SPDX-License-Identifier: Apache-2.0
"""`run-mser evaluate --protocol`, and rejection of training speakers."""

import json
import shutil
import statistics
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mser_llm.evaluation.protocols import PROTOCOLS
from run_mser import main


SPEAKERS = ("03", "08", "09", "10", "11", "12", "13", "14", "15", "16")
CODES = {"W": "angry", "F": "happy", "T": "sad", "N": "neutral"}


@pytest.fixture(scope="module")
def emodb(tmp_path_factory) -> Path:
    """Noise with the file names of EMO-DB: ten speakers, the four emotions and boredom, one clip too short."""
    folder = tmp_path_factory.mktemp("emodb") / "wav"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for speaker in SPEAKERS:
        for code in (*CODES, "L"):
            seconds = 0.3 if (speaker, code) == ("16", "N") else 0.6
            soundfile.write(
                folder / f"{speaker}a01{code}a.wav", 0.1 * generator.standard_normal(int(8000 * seconds)), 8000
            )
    return folder.parent


@pytest.fixture
def trained(tiny_model_dir, tmp_path) -> Path:
    """A model trained on one man of EMO-DB, and on Polish."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_model_dir, folder)
    heard = {"speakers": ["emodb-03", "nemo-1"], "recordings": [], "corpora": ["emodb", "nemo"], "languages": ["pl"]}
    data = {"sources": [{"corpus": "nemo"}], "languages": {"pl": 9}, "heard": heard}
    record = {"speakers": ["emodb-03"], "data": data}
    (folder / "train_results.json").write_text(json.dumps(record))
    return folder


def evaluate(model, corpus, output, *more) -> int:
    words = ["evaluate", "--model", str(model), "--corpora", f"emodb={corpus}", "--output_dir", str(output)]
    return main([*words, "--device", "cpu", "--no_cache", *more])


def read(output):
    return json.loads((output / "results.json").read_text(encoding="utf-8"))


def test_protocol_sets_labels_clips_and_published_results(emodb, tiny_model_dir, tmp_path, capsys):
    assert evaluate(tiny_model_dir, emodb, tmp_path, "--protocol", "emodb-4") == 0

    results = read(tmp_path)
    assert results["labels"] == ["neutral", "happy", "sad", "angry"]
    metrics, protocol_results = results["corpora"]["emodb"], results["protocol"]
    assert (metrics["n"], metrics["dropped"], metrics["dropped_emotions"]) == (39, 10, {"boredom": 10})
    assert (protocol_results["expected"], protocol_results["found"]) == ({"emodb": 339}, {"emodb": 40})
    assert protocol_results["left_out"] == {"shorter than 0.5 s": 1} and "over_folds" not in protocol_results
    assert len(protocol_results["published"]) == len(PROTOCOLS["emodb-4"].published) == 9
    out = capsys.readouterr().out
    (contrastive,) = (line.split() for line in out.splitlines() if line.startswith("Contrastive"))
    assert contrastive[1:4] == ["0.906", "±", "0.017"]
    (own,) = (line.split() for line in out.splitlines() if line.startswith("measured here"))
    assert own[2:5] == [f"{metrics[name]:.3f}" for name in ("WA", "UA", "macro_F1")]
    assert "emodb 40 of 339" in out
    # The tiny model has no training record.
    assert results["leak"]["found"] is False and "not checked: " in out
    assert results["leak"]["unchecked"]


def test_protocol_evaluates_all_folds_or_one(emodb, tiny_model_dir, tmp_path, capsys):
    assert evaluate(tiny_model_dir, emodb, tmp_path / "all", "--protocol", "emodb-4-5fold") == 0
    results = read(tmp_path / "all")
    names = [f"emodb:fold{number}" for number in range(1, 6)]
    assert list(results["corpora"]) == names and results["pooled"]["n"] == 39
    accuracies = [results["corpora"][name]["WA"] for name in names]
    over = results["protocol"]["over_folds"]["WA"]
    assert over == {"mean": pytest.approx(np.mean(accuracies)), "std": pytest.approx(statistics.stdev(accuracies))}
    assert f"WA {over['mean']:.3f} ± {over['std']:.3f}" in capsys.readouterr().out

    assert evaluate(tiny_model_dir, emodb, tmp_path / "two", "--protocol", "emodb-4-5fold", "--fold", "fold2") == 0
    one = read(tmp_path / "two")
    assert list(one["corpora"]) == ["emodb"] and one["protocol"]["fold"] == "fold2"
    assert one["corpora"]["emodb"]["WA"] == pytest.approx(accuracies[1])


@pytest.mark.parametrize("protocol", [[], ["--protocol", "emodb-4-5fold", "--fold", "fold1"]])
def test_training_speakers_are_rejected_before_writing_or_marked(emodb, trained, tmp_path, capsys, protocol):
    assert evaluate(trained, emodb, tmp_path / "out", *protocol) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "1 speaker(s) are in training and in test: emodb-03; 4 of" in error and "--allow_leak" in error
    assert not (tmp_path / "out").exists()
    assert evaluate(trained, emodb, tmp_path / "out", *protocol, "--allow_leak") == 0
    leak = read(tmp_path / "out")["leak"]
    assert leak["found"] and leak["speakers"] == ["emodb-03"]
    assert (leak["clips"], leak["tested"]) == (4, 8 if protocol else 40)
    assert "LEAK: 1 speaker(s) are in training and in test: emodb-03" in capsys.readouterr().out
    assert "1 of the speakers" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_protocol_rejects_a_trained_corpus_in_zero_shot_only(emodb, trained, tmp_path, capsys):
    assert evaluate(trained, emodb, tmp_path / "out", "--protocol", "emodb-4-5fold", "--fold", "fold2") == 0
    assert read(tmp_path / "out")["leak"]["found"] is False
    capsys.readouterr()
    assert evaluate(trained, emodb, tmp_path / "zero", "--protocol", "emodb-4") == 2
    assert "the corpus emodb" in capsys.readouterr().err
    assert evaluate(trained, emodb, tmp_path / "german", "--protocol", "en-to-de") == 2
    assert "emodb-03" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--protocol", "emodb4"], "did you mean emodb-4?"),
        (["--protocol", "emodb-4", "--labels", "four"], "--labels: emodb-4"),
        (["--fold", "fold1"], "--fold: "),
        (["--protocol", "emodb-4-5fold", "--fold", "six"], "'six'; pass --fold with one of fold1, fold2"),
        (["--protocol", "aesdd"], "aesdd: does not use emodb"),
    ],
)
def test_protocol_errors_are_one_line_and_status_2(flags, message, emodb, tiny_model_dir, tmp_path, capsys):
    assert evaluate(tiny_model_dir, emodb, tmp_path / "out", *flags) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert message in errors[-1] and errors[-1].startswith("run-mser: error:")
