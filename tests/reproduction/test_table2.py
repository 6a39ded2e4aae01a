# SPDX-License-Identifier: Apache-2.0
"""Table II end to end on tones: trainings, evaluations, and resuming."""

import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import yaml
from run_predictions import truths_and_predictions
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from warm_python import WarmPython

from modeling_mser.file_digests_mser import MODEL_DIGESTS, write_digests
from mser_llm.cli import reproduce
from mser_llm.cli.reproduce import ReproduceArguments
from mser_llm.evaluation.protocols import LeakReport
from mser_llm.reproduction.systems import Step
from mser_llm.reproduction.writers import write_table
from run_mser import main


KILLED = Path(__file__).with_name("interrupted_reproduction.py")
FOLDERS = {
    "SER": "stage1",
    "SER + L_lec": "stage1-contrast",
    "MSER": "joint",
    "MSER + L_lec": "joint-contrast",
    "MSER (S2)": "stage1_stage2",
    "MSER + L_lec (S2)": "stage1-contrast_stage2-contrast",
}
FIRST_TWO = ("stage1", "stage1-contrast")


def check_metrics(folder: Path, seeds: list[int]) -> None:
    """Compare a table with the metrics of each seed as scikit-learn computes them."""
    table = json.loads((folder / "table2.json").read_text(encoding="utf-8"))
    ours = {line["system"]: line for line in table["lines"] if line["by"] == "ours"}
    expected = {}
    for system, name in FOLDERS.items():
        runs = [truths_and_predictions(folder / f"seed{seed}" / name) for seed in seeds]
        for metric, compute in (("UA", balanced_accuracy_score), ("WA", accuracy_score)):
            values = [compute(*run) for run in runs]
            figure, expected[system, metric] = ours[system]["figures"][metric], np.mean(values)
            assert figure["mean"] == pytest.approx(np.mean(values)) and figure["low"] <= figure["high"]
            assert figure["std"] == (pytest.approx(np.std(values, ddof=1)) if len(seeds) > 1 else None)
    assert len(table["differences"]) == 14
    for one in table["differences"]:
        having, without = (expected[one[name], one["metric"]] for name in ("having", "without"))
        assert one["difference"] == pytest.approx(having - without)
        assert one["p"] <= one["p_holm"] <= 1


def test_table_has_six_systems_with_the_published_ones(finished_table2: Path):
    table = json.loads((finished_table2 / "table2.json").read_text(encoding="utf-8"))
    assert [(line["system"], line["by"]) for line in table["lines"]] == [
        (system, by) for system in FOLDERS for by in ("ours", "paper")
    ]
    check_metrics(finished_table2, [0])
    ours = {line["system"]: line for line in table["lines"] if line["by"] == "ours"}
    assert {line["tested_on"] for line in ours.values()} == {"folder 12"}
    assert ours["SER"]["trained_on"] == "folder 8" and ours["MSER"]["trained_on"] == "folder 16"
    assert ours["MSER (S2)"]["trained_on"] == "folder 8, then folder 16"
    assert "68.5 on seven classes" in (finished_table2 / "table2.md").read_text(encoding="utf-8")


def test_each_step_is_trained_once_with_the_contrast_and_stage_of_its_name(finished_table2: Path):
    trained = [path.parent.name for path in finished_table2.glob("seed0/*/model.safetensors")]
    assert sorted(trained) == sorted(FOLDERS.values())
    for name in FOLDERS.values():
        folder = finished_table2 / "seed0" / name
        earlier, _, last = name.rpartition("_")
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        assert (run["contrast_weight"] > 0) == last.endswith("contrast")
        assert run["stage"] == ("joint" if last.startswith("joint") else last[5])
        assert run["init_from"] == (str(folder.parent / earlier) if earlier else None)
        logged = json.loads((folder / "train_results.json").read_text(encoding="utf-8"))["log_history"]
        assert any("loss_margin_contrast" in entry for entry in logged) == last.endswith("contrast")


def test_second_call_reuses_everything(finished_table2: Path, table2_command, capsys):
    def state() -> dict[Path, int]:
        files = (path for path in (finished_table2 / "seed0").rglob("*") if path.is_file())
        return {path: path.stat().st_mtime_ns for path in files}

    made, text = state(), (finished_table2 / "table2.md").read_text(encoding="utf-8")
    assert main(table2_command(finished_table2)) == 0
    assert state() == made
    assert (finished_table2 / "table2.md").read_text(encoding="utf-8") == text
    printed = capsys.readouterr().out
    assert text in printed and "[6/6]" in printed


def test_other_speakers_or_settings_need_another_folder(finished_table2, table2_command, trained_speech, capsys):
    assert main(table2_command(finished_table2, "--settings", "learning_rate=0.02")) == 2
    assert "--output_dir" in capsys.readouterr().err
    table = trained_speech / "index.csv"
    content = table.read_text(encoding="utf-8")
    table.write_text(content.replace(",s1,", ",s0,"), encoding="utf-8")
    try:
        assert main(table2_command(finished_table2)) == 2
    finally:
        table.write_text(content, encoding="utf-8")
    assert "--output_dir" in capsys.readouterr().err


def test_damaged_record_and_missing_weights_are_written_again(finished_table2: Path, table2_command):
    """The weights are those of a first stage from which a second one starts."""
    record = finished_table2 / "seed0" / "joint" / "train_results.json"
    weights = finished_table2 / "seed0" / "stage1" / "model.safetensors"
    kept = {path: path.read_bytes() for path in (record, weights)}
    text = (finished_table2 / "table2.md").read_text(encoding="utf-8")
    record.write_bytes(kept[record][:200])
    weights.unlink()
    try:
        assert main(table2_command(finished_table2)) == 0
        assert json.loads(record.read_bytes())["validation"] == json.loads(kept[record])["validation"]
        assert weights.read_bytes() == kept[weights]
    finally:
        for path, content in kept.items():
            path.write_bytes(content)
    assert (finished_table2 / "table2.md").read_text(encoding="utf-8") == text


def test_other_weights_are_evaluated_again(finished_table2: Path, table2_command):
    one, other = (finished_table2 / "seed0" / name for name in ("joint", "stage1"))
    weights, before = (one / "model.safetensors").read_bytes(), (one / "test" / "predictions.csv").read_bytes()
    (one / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    write_digests(one, MODEL_DIGESTS)
    try:
        assert main(table2_command(finished_table2)) == 0
        assert (one / "test" / "predictions.csv").read_bytes() == (other / "test" / "predictions.csv").read_bytes()
    finally:
        (one / "model.safetensors").write_bytes(weights)
        write_digests(one, MODEL_DIGESTS)
    assert main(table2_command(finished_table2)) == 0
    assert (one / "test" / "predictions.csv").read_bytes() == before


def test_leak_is_rejected_before_training(
    table2_command, trained_speech: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    assert main(table2_command(tmp_path / "table2", tested=trained_speech)) == 2
    error = capsys.readouterr().err
    assert "folder-s0" in error and "--allow_leak" in error
    assert not (tmp_path / "table2").exists()


def test_allowed_leak_marks_every_file(finished_table2: Path, table2_command, tmp_path: Path, monkeypatch):
    """With the trainings of the fixture, as if they had seen two speakers of the test."""

    def leaking(training: object, test: list, *, allow: bool) -> LeakReport:
        assert allow
        return LeakReport(speakers=("folder-s0", "folder-s1"), clips=len(test), tested=len(test))

    monkeypatch.setattr("mser_llm.reproduction.runs.check_leak", leaking)
    monkeypatch.setattr(
        "mser_llm.reproduction.table2.write_table", lambda table, _, name: write_table(table, tmp_path, name)
    )
    assert main(table2_command(finished_table2, "--allow_leak")) == 0
    for suffix, mark in {"md": "(LEAK)", "tex": "(LEAK)", "csv": "2 speaker(s)"}.items():
        assert (tmp_path / f"table2.{suffix}").read_text(encoding="utf-8").count(mark) >= len(FOLDERS), suffix
    table = json.loads((tmp_path / "table2.json").read_text(encoding="utf-8"))
    assert table["configuration"]["leak"]["found"]
    assert all(("2 speaker(s)" in line["leak"]) == (line["by"] == "ours") for line in table["lines"])


@pytest.mark.slow
def test_two_seeds_are_averaged(finished_table2: Path, table2_command):
    before = {path: path.read_bytes() for path in finished_table2.glob("table2.*")}
    try:
        assert main(table2_command(finished_table2, "--seeds", "0", "1")) == 0
        check_metrics(finished_table2, [0, 1])
    finally:
        for path, content in before.items():
            path.write_bytes(content)


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--settings", "epochs"], "KEY=VALUE"),
        (["--demo"], "--demo"),
        (["--settings", "contrast_weight=0"], "contrast_weight is 0"),
        (["--recipe", "nowhere"], "nowhere/stage1.yaml"),
        ([], "--models"),
    ],
)
def test_usage_error_is_one_line(flags: list[str], named: str, table2_command, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "1" if flags else "2")
    assert main(table2_command(tmp_path, *flags)) == 2
    err = capsys.readouterr().err
    assert named in err and err.startswith("run-mser: error: ") and err.count("\n") == 1


@pytest.mark.slow
def test_table_resumes_after_a_kill(warm_python: WarmPython, table2_command, finished_table2: Path, tmp_path: Path):
    """Killed in the third training, before it is recorded, and before predictions are written."""
    words, trained = table2_command(tmp_path / "killed"), {}
    steps = [json.loads((finished_table2 / "seed0" / name / "train_results.json").read_text()) for name in FIRST_TWO]
    third = sum(results["log_history"][-1]["step"] for results in steps) + 2
    for moment in (
        f"mser_llm.training.trainer:MSERTrainer.training_step:{third}",
        "mser_llm.reproduction.runs:write_json:2",
        "mser_llm.evaluation.evaluation:write_results:3",
    ):
        killed = warm_python.run(KILLED, moment, *words)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert not (tmp_path / "killed" / "table2.json").exists()
        assert trained == {path: path.stat().st_mtime_ns for path in trained}, "finished trainings are reused"
        trained = {path: path.stat().st_mtime_ns for path in (tmp_path / "killed").rglob("trained.json")}
    assert len(trained) > 2
    assert main(words) == 0
    tables = [json.loads((folder / "table2.json").read_text()) for folder in (tmp_path / "killed", finished_table2)]
    for table in tables:
        for runs in table["configuration"]["runs"].values():
            for one in runs:
                del one["folder"]
    assert tables[0] == tables[1]


@pytest.mark.slow
def test_demo_speech_is_split_into_training_and_test(finished_demo: Path, tmp_path: Path):
    for speech in ("english", "speech", "m5ser"):  # takes a minute to create, and is reused
        shutil.copytree(finished_demo / "runs" / "demo" / speech, tmp_path / "demo" / speech)
    training, tests = reproduce.speech(ReproduceArguments("table2", demo=True, output_dir=str(tmp_path)))
    assert {name: len(rows) for name, rows in tests.items()} == {"demo-el": 14, "demo-fa": 14, "demo-ru": 14}
    assert any(row.get("translator") for row in training)


def test_joint_training_balances_as_the_second_stage(tiny_recipes: Path, tmp_path: Path):
    """Otherwise one stage and two would differ in their batches too."""
    family = tmp_path / "family"
    shutil.copytree(tiny_recipes, family)
    for name, balance in (("stage1", "emotion"), ("stage2", "emotion_language")):
        file = family / f"{name}.yaml"
        recipe = yaml.safe_load(file.read_text(encoding="utf-8")) | {"balance": balance}
        file.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    settings = ReproduceArguments("table2", recipe=str(family)).family.of_systems()
    balances = {
        step.name: settings(step, 0, tmp_path, None)[2].balance for step in (Step("1", True), Step("joint", True))
    }
    assert balances == {"stage1-contrast": "emotion", "joint-contrast": "emotion_language"}
