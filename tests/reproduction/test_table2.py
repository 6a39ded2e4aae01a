# SPDX-License-Identifier: Apache-2.0
"""Table II end to end on tones: what is trained, what is measured, and that it goes on where it was cut off."""

import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from warm_python import WarmPython
from written_answers import answers

from modeling_mser.file_digests_mser import MODEL_DIGESTS, write_digests
from mser_llm.cli.reproduce import ReproduceArguments
from mser_llm.data.schema import new_row
from mser_llm.reproduction.evaluation_cache import EvaluationSet
from mser_llm.reproduction.systems import Step
from processing_mser import label_set
from run_mser import main


KILLED = Path(__file__).with_name("interrupted_reproduction.py")
SYSTEMS = ["SER", "SER + L_lec", "MSER", "MSER + L_lec", "MSER (S2)", "MSER + L_lec (S2)"]
FOLDERS = {
    "SER": "stage1",
    "SER + L_lec": "stage1-contrast",
    "MSER": "joint",
    "MSER + L_lec": "joint-contrast",
    "MSER (S2)": "stage1_stage2",
    "MSER + L_lec (S2)": "stage1-contrast_stage2-contrast",
}


def row(name: str, emotion: str, folder: Path) -> dict:
    path = folder / f"{name}.wav"
    soundfile.write(path, np.random.default_rng(len(list(folder.iterdir()))).uniform(-0.1, 0.1, 8000), 16000)
    return new_row(id=name, path=path, corpus="folder", emotion=emotion)


def expected_figures(folder: Path, seeds: list[int]) -> dict[str, dict[str, list[float]]]:
    """By system and metric the figure of each seed, by scikit-learn."""
    found: dict[str, dict[str, list[float]]] = {}
    for system in SYSTEMS:
        runs = [answers(folder / f"seed{seed}" / FOLDERS[system]) for seed in seeds]
        found[system] = {
            "UA": [balanced_accuracy_score(*run) for run in runs],
            "WA": [accuracy_score(*run) for run in runs],
        }
    return found


def check_figures(folder: Path, seeds: list[int]) -> None:
    table = json.loads((folder / "table2.json").read_text(encoding="utf-8"))
    ours = {line["system"]: line for line in table["lines"] if line["by"] == "ours"}
    expected = expected_figures(folder, seeds)
    for system in SYSTEMS:
        for metric, values in expected[system].items():
            figure = ours[system]["figures"][metric]
            assert figure["mean"] == pytest.approx(np.mean(values))
            if len(seeds) > 1:
                assert figure["std"] == pytest.approx(np.std(values, ddof=1))
            else:
                assert figure["std"] is None
            assert figure["low"] <= figure["high"]
    assert len(table["differences"]) == 14
    for one in table["differences"]:
        means = [np.mean(expected[name][one["metric"]]) for name in (one["having"], one["without"])]
        assert one["difference"] == pytest.approx(means[0] - means[1])
        assert one["p"] <= one["p_holm"] <= 1


def test_the_six_systems_stand_beside_the_paper(finished_table2: Path):
    table = json.loads((finished_table2 / "table2.json").read_text(encoding="utf-8"))
    assert [(line["system"], line["by"]) for line in table["lines"]] == [
        (system, by) for system in SYSTEMS for by in ("ours", "paper")
    ]
    check_figures(finished_table2, [0])
    ours = {line["system"]: line for line in table["lines"] if line["by"] == "ours"}
    assert {line["tested_on"] for line in ours.values()} == {"folder 12"}
    assert ours["SER"]["trained_on"] == "folder 8" and ours["MSER"]["trained_on"] == "folder 16"
    assert ours["MSER (S2)"]["trained_on"] == "folder 8, then folder 16"
    assert "68.5 on seven classes" in (finished_table2 / "table2.md").read_text(encoding="utf-8")


def test_a_step_that_two_systems_share_is_trained_once(finished_table2: Path):
    trained = [path.parent.name for path in finished_table2.glob("seed*/*/model.safetensors")]
    assert sorted(trained) == sorted(FOLDERS.values())


def test_the_contrast_and_the_stages_are_what_the_names_say(finished_table2: Path):
    for name in FOLDERS.values():
        folder = finished_table2 / "seed0" / name
        earlier, _, last = name.rpartition("_")
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        assert (run["contrast_weight"] > 0) == last.endswith("contrast")
        assert run["stage"] == ("joint" if last.startswith("joint") else last[5])
        assert run["init_from"] == (str(folder.parent / earlier) if earlier else None)
        logged = json.loads((folder / "train_results.json").read_text(encoding="utf-8"))["log_history"]
        assert any("loss_margin_contrast" in entry for entry in logged) == last.endswith("contrast")


def test_a_second_call_trains_and_measures_nothing(finished_table2: Path, table2_command, capsys):
    def state() -> dict[Path, int]:
        files = (path for path in (finished_table2 / "seed0").rglob("*") if path.is_file())
        return {path: path.stat().st_mtime_ns for path in files}

    made, text = state(), (finished_table2 / "table2.md").read_text(encoding="utf-8")
    assert main(table2_command(finished_table2)) == 0
    assert state() == made
    assert (finished_table2 / "table2.md").read_text(encoding="utf-8") == text
    printed = capsys.readouterr().out
    assert text in printed and "[6/6]" in printed


def test_a_training_of_other_speakers_is_not_taken_for_this_one(finished_table2: Path, table2_command, heard, capsys):
    table = heard / "index.csv"
    content = table.read_text(encoding="utf-8")
    table.write_text(content.replace(",s1,", ",s0,"), encoding="utf-8")
    try:
        assert main(table2_command(finished_table2)) == 2
    finally:
        table.write_text(content, encoding="utf-8")
    assert "--output_dir" in capsys.readouterr().err


def test_a_damaged_record_of_a_training_is_written_anew(finished_table2: Path, table2_command):
    record = next((finished_table2 / "seed0").glob("*/train_results.json"))
    content, text = record.read_text(encoding="utf-8"), (finished_table2 / "table2.md").read_text(encoding="utf-8")
    record.write_text(content[:200], encoding="utf-8")
    try:
        assert main(table2_command(finished_table2)) == 0
        assert json.loads(record.read_text(encoding="utf-8"))["validation"] == json.loads(content)["validation"]
    finally:
        record.write_text(content, encoding="utf-8")
    assert (finished_table2 / "table2.md").read_text(encoding="utf-8") == text


def test_weights_that_went_are_made_again(finished_table2: Path, table2_command):
    """Those of a first stage, which another goes on from."""
    weights = finished_table2 / "seed0" / "stage1" / "model.safetensors"
    content, text = weights.read_bytes(), (finished_table2 / "table2.md").read_text(encoding="utf-8")
    weights.unlink()
    try:
        assert main(table2_command(finished_table2)) == 0
        assert weights.read_bytes() == content
    finally:
        weights.write_bytes(content)
    assert (finished_table2 / "table2.md").read_text(encoding="utf-8") == text


def test_other_weights_are_measured_anew(finished_table2: Path, table2_command):
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


def test_other_words_or_clips_are_measured_anew(finished_table2: Path, tmp_path: Path):
    """Nothing is taken from an earlier call that was about other clips or words."""
    rows = [row(f"clip{number}", "happy", tmp_path) for number in range(2)]
    asked = ((rows, "four"), (rows[:1], "four"), (rows, "seven"), (rows[::-1], "four"))
    found = [EvaluationSet({"folder": tested}, label_set(words)).identity for tested, words in asked]
    assert EvaluationSet({"folder": rows}, label_set("four")).identity == found[0]
    (tmp_path / "clip1.wav").write_bytes((tmp_path / "clip0.wav").read_bytes())
    found.append(EvaluationSet({"folder": rows}, label_set("four")).identity)
    assert len(set(found)) == 5


def test_other_settings_want_another_folder(finished_table2: Path, table2_command, capsys):
    assert main(table2_command(finished_table2, "--settings", "learning_rate=0.02")) == 2
    assert "another --output_dir" in capsys.readouterr().err


def test_training_on_the_test_is_refused_before_anything_is_trained(
    table2_command, heard: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    assert main(table2_command(tmp_path / "table2", tested=heard)) == 2
    told = capsys.readouterr().err
    assert "folder-s0" in told and "--allow_leak" in told
    assert not (tmp_path / "table2").exists()


def test_several_processes_are_refused(table2_command, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(table2_command(tmp_path)) == 2
    assert "one process" in capsys.readouterr().err


@pytest.mark.slow
def test_an_allowed_leak_marks_every_file(table2_command, heard: Path, tmp_path: Path):
    assert main(table2_command(tmp_path, "--allow_leak", tested=heard)) == 0
    for suffix, mark in {"md": "(LEAK)", "tex": "(LEAK)", "csv": "4 speaker(s)", "json": '"found": true'}.items():
        assert mark in (tmp_path / f"table2.{suffix}").read_text(encoding="utf-8"), suffix


@pytest.mark.slow
def test_two_seeds_are_averaged(table2_command, tmp_path: Path):
    assert main(table2_command(tmp_path, "--seeds", "0", "1")) == 0
    check_figures(tmp_path, [0, 1])


def test_a_step_has_the_settings_of_its_recipe_whatever_was_asked_before(tiny_recipes: Path, tmp_path: Path):
    first, second = Step("1", False), Step("2", True, Step("1", True))

    def asked(*steps: Step) -> list[dict]:
        settings = ReproduceArguments("table2", recipe=str(tiny_recipes), labels="four").family.of_systems()
        return [
            vars(settings(step, 0, tmp_path / "run", tmp_path / "earlier" if step.after else None)[0])
            for step in steps
        ]

    alone = [*asked(first), *asked(second)]
    assert asked(first, second) == alone and asked(second, first) == alone[::-1]
    assert alone[0]["init_from"] is None and alone[1]["audio_config"] is None


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--settings", "epochs"], "KEY=VALUE"),
        (["--demo"], "leave out --corpora"),
        (["--settings", "contrast_weight=0"], "contrast_weight is 0"),
        (["--recipe", "nowhere"], "nowhere/stage1.yaml"),
    ],
)
def test_a_slip_is_told_in_one_line(
    flags: list[str], said: str, table2_command, tmp_path, capsys: pytest.CaptureFixture
):
    assert main(table2_command(tmp_path, *flags)) == 2
    err = capsys.readouterr().err
    assert said in err and err.startswith("run-mser: error: ") and err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["step:3:1", "record:2", "predictions:3"])
def test_a_killed_call_ends_as_an_unbroken_one(
    moment: str, warm_python: WarmPython, table2_command, finished_table2: Path, tmp_path: Path
):
    killed = warm_python.run(KILLED, moment, *table2_command(tmp_path / "killed"))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "killed" / "table2.json").exists()
    finished = warm_python.run(KILLED, "never", *table2_command(tmp_path / "killed"))
    assert finished.returncode == 0, finished.stderr
    tables = [json.loads((folder / "table2.json").read_text()) for folder in (tmp_path / "killed", finished_table2)]
    for table in tables:
        for runs in table["configuration"]["runs"].values():
            for one in runs:
                del one["folder"]
    assert tables[0] == tables[1]


@pytest.mark.slow
def test_the_demonstration_gives_the_table_too(finished_demo: Path, tmp_path: Path):
    for speech in ("english", "speech", "m5ser"):  # takes a minute to make, and is taken where it lies
        shutil.copytree(finished_demo / "runs" / "demo" / speech, tmp_path / "table2" / "demo" / speech)
    flags = ["--demo", "--seeds", "0", "--settings", "max_steps=1", "--cache_dir", str(tmp_path / "cache")]
    assert main(["reproduce", "table2", *flags, "--output_dir", str(tmp_path / "table2")]) == 0
    table = json.loads((tmp_path / "table2" / "table2.json").read_text(encoding="utf-8"))
    (line,) = [one for one in table["lines"] if (one["system"], one["by"]) == ("MSER (S2)", "ours")]
    assert line["tested_on"] == "demo-el 14 + demo-fa 14 + demo-ru 14" and line["classes"] == 7
    assert "translated" in line["trained_on"]


def test_a_family_without_joint_is_balanced_as_its_second_stage(tiny_recipes: Path, tmp_path: Path):
    """One stage and two would otherwise differ in their batches too."""
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
