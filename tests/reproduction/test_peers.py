# SPDX-License-Identifier: Apache-2.0
"""`reproduce peers` with the recipes of configs/base, over a tiny encoder and tones."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from run_predictions import truths_and_predictions
from sklearn.metrics import balanced_accuracy_score
from tone_corpus import write_tones

from mser_llm.cli.reproduce_recipes import RecipeFamily
from mser_llm.data.read_corpus import read_corpus
from mser_llm.reproduction.peer_systems import BASELINE, BYOL, COMBINATIONS, FROZEN, MSER, PEERS, SPEAKER_CONTRAST
from mser_llm.reproduction.peers import PeerExperiment
from mser_llm.reproduction.runs import Experiment
from processing_mser import label_set
from run_mser import main


BUDGET = 64
# Enough for every kind of line; the test of the budget has the settings of all.
COMBINED = [*COMBINATIONS][2:]
TRAINED = [BASELINE, SPEAKER_CONTRAST, BYOL, MSER, *COMBINED]


@pytest.fixture(scope="module")
def peers_command(
    base_encoder: Path, many_speakers: Path, tested_speech: Path, tmp_path_factory: pytest.TempPathFactory
):
    cache = tmp_path_factory.mktemp("features")

    def words(folder: Path, *flags: str) -> list[str]:
        given = ["--corpora", f"folder={many_speakers}", "--test", f"folder={tested_speech}", "--recipe", "base"]
        given += ["--seeds", "0", "--labels", "four", "--budget", str(BUDGET), "--output_dir", str(folder)]
        given += ["--cache_dir", str(cache), "--settings", "use_cpu=true", "logging_steps=1"]
        return ["reproduce", "peers", *given, *flags]

    return words


@pytest.fixture(scope="module")
def finished(peers_command, base_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "peers"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MSER_BACKBONES", str(base_encoder))
        assert main(peers_command(folder, "--systems", *TRAINED)) == 0
    return folder


@pytest.fixture(scope="module")
def table(finished: Path) -> dict:
    return json.loads((finished / "peers.json").read_text(encoding="utf-8"))


def results(folder: Path) -> dict:
    return json.loads((folder / "train_results.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_table_has_the_selected_methods_and_combinations(table: dict, finished: Path):
    assert [line["system"] for line in table["lines"]] == TRAINED
    for line in table["lines"]:
        (run,) = table["configuration"]["runs"][line["system"]]
        expected = balanced_accuracy_score(*truths_and_predictions(Path(run["folder"])))
        assert line["figures"]["UA"]["mean"] == pytest.approx(expected)
        assert line["figures"]["UA"]["low"] <= expected <= line["figures"]["UA"]["high"]
        assert float(line["further"]["CPU min a seed"]) >= 0 and run["cpu_seconds"] > 0
    text = (finished / "peers.md").read_text(encoding="utf-8")
    assert all(name in text for name in TRAINED) and "emotion labels" in text


def test_each_system_draws_its_budget(base_encoder: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("MSER_BACKBONES", str(base_encoder))
    recipe = RecipeFamily("base", "four").of_peers(BUDGET, 0)
    for name, system in (PEERS | COMBINATIONS).items():
        drawn = 0
        for step in system.last.chain:
            _, data, training = recipe(step, 0, tmp_path / step.name, None)
            views = 2 if training.balance == "speaker" and data.views > 1 else 1
            drawn += training.max_steps * training.per_device_train_batch_size // views
        assert drawn == BUDGET, name


@pytest.mark.slow
def test_trainings_take_the_steps_of_their_settings(table: dict, finished: Path):
    for run_dir in (path.parent for path in finished.glob("seed0/*/run.json")):
        run = json.loads((run_dir / "run.json").read_text(encoding="utf-8"))
        assert results(run_dir)["log_history"][-1]["step"] == run["max_steps"], run_dir


@pytest.mark.slow
def test_labels_come_from_the_languages_of_the_table(table: dict, finished: Path):
    labels = {line["system"]: line["further"]["emotion labels"] for line in table["lines"]}
    for name in (SPEAKER_CONTRAST, BASELINE, MSER):
        last = results(finished / "seed0" / PEERS[name].last.name)["data"]["languages"]
        assert set(last) == ({"en"} if labels[name] == "English" else {"en", "pl"}), name
    first_stage = results(finished / "seed0" / "voices")
    assert set(first_stage["data"]["languages"]) == {"pl"}
    assert any("loss_speaker_contrast" in entry for entry in first_stage["log_history"])
    byol = results(finished / "seed0" / "byol")
    assert set(byol["data"]["languages"]) == {"en", "pl"} and labels[BYOL] == "English"


@pytest.mark.slow
def test_best_combination_is_selected_on_held_out_speakers(table: dict, finished: Path):
    found = {}
    for name in COMBINED:
        selected = results(finished / "held-out" / "seed0" / COMBINATIONS[name].last.name)
        assert selected["clips"]["validation"] > 0
        found[name] = selected["validation"]["eval_UA"]
    assert table["configuration"]["held_out_UA"] == pytest.approx(found)
    best = table["configuration"]["best_combination"]
    assert found[best] == max(found.values())
    (effect,) = [one for one in table["differences"] if one["choice"] == "best combination" and one["metric"] == "UA"]
    means = {line["system"]: line["figures"]["UA"]["mean"] for line in table["lines"]}
    assert effect["having"] == best and effect["difference"] == pytest.approx(means[best] - means[MSER])
    assert any(best in note and "held out" in note for note in table["notes"])


@pytest.mark.slow
def test_selected_systems_are_reused(finished: Path, peers_command, base_encoder, monkeypatch):
    monkeypatch.setenv("MSER_BACKBONES", str(base_encoder))
    weights = {path: path.stat().st_mtime_ns for path in finished.rglob("model.safetensors")}
    before = {path: path.read_text(encoding="utf-8") for path in finished.glob("peers.*")}
    try:
        assert main(peers_command(finished, "--systems", BASELINE, MSER)) == 0
        content = json.loads((finished / "peers.json").read_text(encoding="utf-8"))
        assert [line["system"] for line in content["lines"]] == [BASELINE, MSER]
        assert {path: path.stat().st_mtime_ns for path in finished.rglob("model.safetensors")} == weights
    finally:
        for path, text in before.items():
            path.write_text(text, encoding="utf-8")


def test_unknown_system_and_budget_are_rejected(peers_command, base_encoder, monkeypatch, tmp_path: Path, capsys):
    monkeypatch.setenv("MSER_BACKBONES", str(base_encoder))
    assert main(peers_command(tmp_path / "x", "--systems", "magic")) == 2
    assert "'magic'" in capsys.readouterr().err and not (tmp_path / "x").exists()
    assert main(peers_command(tmp_path / "x", "--budget", "0")) == 2
    assert "--budget 0" in capsys.readouterr().err


@pytest.mark.slow
def test_table_has_published_rows_and_upper_bound(many_speakers, base_encoder, tmp_path, monkeypatch):
    """The upper bound is five trainings on other speakers of the target; each clip is tested once."""
    monkeypatch.setenv("MSER_BACKBONES", str(base_encoder))
    german = write_tones(tmp_path / "german", {f"g{number}": "de" for number in range(5)}, takes=1, seed=3)
    for path in german.glob("*.wav"):  # the paper leaves out what is shorter than half a second
        soundfile.write(path, np.tile(soundfile.read(path)[0], 2), 16000)
    tested = [{**row, "corpus": "emodb"} for row in read_corpus("folder", german).rows]
    training = read_corpus("folder", many_speakers).rows
    folder = tmp_path / "peers"
    family = RecipeFamily("base", "four", ["use_cpu=true"], str(tmp_path / "cache"))
    recipe_for = partial(family.of_peers, 32)
    given = Experiment(recipe_for(0), training, {"emodb": tested}, label_set("four"), folder)
    PeerExperiment(given, recipe_for, 32, [0]).write([FROZEN])
    lines = json.loads((folder / "peers.json").read_text(encoding="utf-8"))["lines"]
    bound = next(line for line in lines if line["system"].startswith("upper bound"))
    assert bound["tested_on"] == "emodb 20" and bound["trained_on"].startswith("emodb 16")
    runs = [truths_and_predictions(run) for run in sorted((folder / "upper-bound" / "emodb").glob("*/seed0/frozen"))]
    assert len(runs) == 5
    truths, predicted = (np.concatenate(part) for part in zip(*runs))
    assert bound["figures"]["UA"]["mean"] == pytest.approx(balanced_accuracy_score(truths, predicted))
    published = {line["system"]: line["figures"]["UA"]["mean"] for line in lines if line["by"] == "paper"}
    assert published == {BASELINE: 0.758, SPEAKER_CONTRAST: 0.896, BYOL: 0.751}
