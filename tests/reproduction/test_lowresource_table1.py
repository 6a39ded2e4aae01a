# SPDX-License-Identifier: Apache-2.0
"""`reproduce lowresource-table1` with the recipes of configs/base, over a tiny encoder and tones."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from protocol_rows import row, rows_for
from run_predictions import truths_and_predictions
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score
from tone_corpus import PITCHES, write_tones

from mser_llm.cli.reproduce import ReproduceArguments
from mser_llm.data.splits import SpeakerLeakError
from mser_llm.evaluation.protocols import PROTOCOLS
from mser_llm.reproduction.lowresource_table1 import (
    BASELINE,
    BYOL,
    BYOL_OTHER,
    CONTRASTIVE,
    CONTRASTIVE_TARGET,
    SYSTEMS,
    LowResourceTable,
    held_out_english,
)
from mser_llm.reproduction.published import LOW_RESOURCE_TABLE_1
from run_mser import main


FOLDS = range(1, 3)
"""Two of five, so that the table takes seconds."""
LETTERS = {"neutral": "N", "happy": "F", "sad": "T", "angry": "W"}
SPEAKERS = ("03", "08", "10", "13", "15")
FOLDERS = {
    BASELINE: "fold{}/seed0/baseline",
    CONTRASTIVE: "fold{}/seed0/contrastive",
    BYOL: "emodb/fold{}/seed0/byol",
    CONTRASTIVE_TARGET: "emodb/fold{}/seed0/voices_contrastive",
    BYOL_OTHER: "fold{}/seed0/byol-voices",
}


@pytest.fixture(scope="module")
def emodb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of each emotion by five speakers, as EMO-DB names its files."""
    folder, rng = tmp_path_factory.mktemp("emodb"), np.random.default_rng(4)
    for speaker in SPEAKERS:
        for emotion, letter in LETTERS.items():
            tone = np.sin(2 * np.pi * PITCHES[emotion] * rng.uniform(0.9, 1.1) * np.arange(9600) / 16000)
            noisy = 0.3 * tone + 0.01 * rng.standard_normal(9600)
            soundfile.write(folder / f"{speaker}a01{letter}a.wav", noisy, 16000)
    return folder


@pytest.fixture(scope="module")
def command(base_encoder: Path, many_speakers: Path, emodb: Path, tmp_path_factory: pytest.TempPathFactory):
    cache = tmp_path_factory.mktemp("features")

    def words(folder: Path, *flags: str, test: str = f"emodb={emodb}") -> list[str]:
        given = ["--corpora", f"folder={many_speakers}", "--test", test, "--recipe", "base", "--seeds", "0"]
        given += ["--output_dir", str(folder), "--cache_dir", str(cache), *flags]
        return ["reproduce", "lowresource-table1", *given, "--settings", "use_cpu=true", "max_steps=1"]

    return words


@pytest.fixture(scope="module")
def finished(command, base_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "table1"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MSER_BACKBONES", str(base_encoder))
        patch.setattr("mser_llm.reproduction.lowresource_table1.FOLDS", len(FOLDS))
        assert main(command(folder)) == 0
    return folder


def table(folder: Path) -> dict:
    return json.loads((folder / "lowresource-table1.json").read_text(encoding="utf-8"))


def results(folder: Path) -> dict:
    return json.loads((folder / "train_results.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_each_clip_is_predicted_once_by_its_fold(finished: Path):
    content = table(finished)
    ours = [line for line in content["lines"] if line["by"] == "ours"]
    assert [line["system"] for line in ours] == [f"{name}, emodb" for name in SYSTEMS]
    for line in ours:
        folders = [finished / FOLDERS[line["system"].removesuffix(", emodb")].format(fold) for fold in FOLDS]
        parts = [truths_and_predictions(folder) for folder in folders]
        truths, predicted = (np.concatenate(part) for part in zip(*parts))
        assert len(truths) == 4 * len(FOLDS) and line["tested_on"] == f"emodb {4 * len(FOLDS)}"
        expected = {"WA": accuracy_score(truths, predicted), "UA": balanced_accuracy_score(truths, predicted)}
        expected["macro_F1"] = f1_score(truths, predicted, average="macro", zero_division=0)
        assert {name: figure["mean"] for name, figure in line["figures"].items()} == pytest.approx(expected)
    paper = {line["system"]: line["figures"] for line in content["lines"] if line["by"] == "paper"}
    assert paper["Contrastive, emodb"]["macro_F1"] == {"mean": 0.901, "std": 0.018, "low": None, "high": None}
    assert {one["choice"].split(":")[0] for one in content["differences"]} == {"speaker contrast", "BYOL", "contrast"}


@pytest.mark.slow
def test_systems_train_on_the_speech_of_the_table(finished: Path):
    """BYOL on the target's training folds, without their emotions; the contrast on other languages or the target."""
    languages = {name: results(finished / folder.format(2))["data"]["languages"] for name, folder in FOLDERS.items()}
    assert languages[BASELINE] == languages[CONTRASTIVE] == languages[CONTRASTIVE_TARGET] == {"en": 16}
    assert languages[BYOL] == {"de": 16, "en": 16} and languages[BYOL_OTHER] == {"en": 16, "pl": 40}
    assert results(finished / "seed0" / "voices")["data"]["languages"] == {"pl": 40}
    assert results(finished / "emodb/fold2/seed0/voices")["data"]["languages"] == {"de": 16}
    for number in FOLDS:
        folder = finished / FOLDERS[BYOL].format(number)
        data = results(folder)["data"]
        tested = {line.split(",")[3] for line in (folder / "test/predictions.csv").read_text().splitlines()[1:]}
        assert len(data["heard_unlabelled"]["speakers"]) == 4 and not tested & {*data["heard_unlabelled"]["speakers"]}
        assert sum(data["emotions"].values()) == 16, "English alone"


def test_fold_holds_out_a_session_and_the_dev_part():
    """Sec. 3.1: the left-out fold of the high-resource corpora chooses the checkpoint."""
    english = [*rows_for(PROTOCOLS["iemocap-4"]), row(1, "msp-podcast", "1", "sad", "train")]
    english += [row(2, "msp-podcast", "2", "sad", "development"), row(3, "msp-podcast", "3", "sad", "test1")]
    flags = held_out_english(english, 2)
    assert flags[:3] == ("--validation_splits", "session3", "development")
    assert flags[3:] == ("--train_splits", "train", "session1", "session2", "session4", "session5")
    assert [held_out_english([row(1, "ravdess", "1", "sad")], number) for number in (0, 4)] == [
        ("--split_seed", "0"),
        ("--split_seed", "4"),
    ]


def test_unknown_system_or_corpus_is_rejected(command, many_speakers, tmp_path, capsys):
    for words, named in (
        (command(tmp_path / "x", "--systems", "magic"), "'magic'"),
        (command(tmp_path / "x", test=f"folder={many_speakers}"), "emodb=PATH"),
    ):
        assert main(words) == 2
        assert named in capsys.readouterr().err and not (tmp_path / "x").exists()


def test_missing_speech_and_leaks_are_rejected(base_encoder, many_speakers, tmp_path, monkeypatch):
    from mser_llm.data.read_corpus import read_corpus

    monkeypatch.setenv("MSER_BACKBONES", str(base_encoder))
    recipe = ReproduceArguments("lowresource-table1", recipe="base").family.of_low_resource()
    speech = read_corpus("folder", many_speakers).rows
    english = [one for one in speech if one["language"] == "en"]
    target = write_tones(tmp_path / "german", {f"g{number}": "de" for number in range(5)}, takes=1, seed=3)
    tested = [{**one, "corpus": "emodb", "duration": 2.0} for one in read_corpus("folder", target).rows]
    with pytest.raises(ValueError, match="commonvoice=PATH"):
        LowResourceTable(english, {"emodb": tested}, recipe, [0], tmp_path / "x").write()
    with pytest.raises(ValueError, match="iemocap=PATH"):
        LowResourceTable(speech[len(english) :], {"emodb": tested}, recipe, [0], tmp_path / "x").write([BASELINE])
    leaked = [{**one, "language": "en"} for one in tested]
    with pytest.raises(SpeakerLeakError):
        LowResourceTable(leaked, {"emodb": tested}, recipe, [0], tmp_path / "x").write([BASELINE])
    assert not (tmp_path / "x").exists()


def test_defaults_are_five_seeds_and_the_papers_recipes():
    arguments = ReproduceArguments("lowresource-table1")
    assert (arguments.seeds, arguments.recipe) == ([0, 1, 2, 3, 4], "lowresource")
    assert (ReproduceArguments("table2").seeds, ReproduceArguments("table2").recipe) == ([0, 1, 2], "tiny")
    recipe = arguments.family.of_low_resource()
    for corpus in LOW_RESOURCE_TABLE_1:
        published = Counter(one.system for one in PROTOCOLS[f"{corpus}-4"].published if one.where == "Table 1")
        assert published == {"Baseline": 3, "Contrastive": 3, "BYOL": 3}
    from mser_llm.reproduction.peer_systems import RecipeStep

    for name in ("baseline", "byol", "speaker_contrast_stage1", "speaker_contrast_stage2"):
        _, data, training = recipe(RecipeStep(name, name), 3, Path("x"), None)
        assert (data.labels, training.seed, training.epoch_batches) == ("four", 3, 100)
