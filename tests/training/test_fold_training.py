# SPDX-License-Identifier: Apache-2.0
"""`run-mser train --protocol NAME --fold K`: training and validation clips."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from protocol_rows import row, rows_for, translated
from tone_corpus import write_tones

from mser_llm.data.read_corpus import read_corpus
from mser_llm.data.splits import SpeakerLeakError
from mser_llm.evaluation.protocols import PROTOCOLS, ProtocolError
from mser_llm.io.errors import InputError
from mser_llm.training.arguments import DataArguments
from mser_llm.training.data.clip_selection import prepare_data
from mser_llm.training.data.folds import arguments_for_fold, fold_rows, training_fold
from run_mser import main


IEMOCAP, MELD = (rows_for(PROTOCOLS[name]) for name in ("iemocap-4", "meld-4"))
M5SER = [translated(one, source_split=one["split"]) for one in (*IEMOCAP, *MELD)]
PAPER = DataArguments(
    train_splits=["train", "session1", "session2", "session3", "session4"], validation_splits=["dev", "development"]
)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch):
    """Run `run-mser train` with given rows; return the rows and data arguments that reach the training."""

    def run(rows, *flags: str):
        seen = []
        by_corpus = {name: [one for one in rows if one["corpus"] == name] for name in {one["corpus"] for one in rows}}
        reading = lambda name, path: SimpleNamespace(rows=by_corpus[name], warnings=[])  # noqa: E731
        monkeypatch.setattr("mser_llm.data.read_corpus.read_corpus", reading)
        result = {"validation": None}
        monkeypatch.setattr("mser_llm.training.run_training.train", lambda *given: seen.append(given) or result)
        corpora = [f"{name}=/data/{name}" for name in by_corpus]
        assert main(["train", str(Path(__file__).parents[1] / "recipe.yaml"), "--corpora", *corpora, *flags]) == 0
        return seen[0][0], seen[0][2]

    return run


@pytest.mark.parametrize("fold", ["session2", "2"])
def test_train_protocol_omits_the_fold_and_its_translations(trained, fold: str):
    rows, data = trained([*IEMOCAP, *M5SER], "--protocol", "iemocap-4", "--fold", fold)
    assert data.labels == "four"
    session = {one["speaker"] for one in IEMOCAP if one["split"] == "session2"}
    assert not session & {one["speaker"] for one in rows}
    human = [one for one in rows if one["corpus"] == "iemocap"]
    assert Counter(one["split"] for one in human) == {f"session{n}": 8 for n in (1, 3, 4, 5)}
    assert {one["source_corpus"] for one in rows if one["corpus"] == "m5ser"} == {"iemocap", "meld"}


def test_fold_adds_its_parts_to_the_recipe():
    """The paper's recipe omits session 5 of IEMOCAP; a fold that tests session 1 trains on it."""
    protocol = PROTOCOLS["iemocap-7"]
    fold = training_fold(protocol, [*rows_for(protocol), *MELD], PAPER, "1")
    data = arguments_for_fold(PAPER, fold, protocol)
    assert set(data.train_splits) == {"train", *(f"session{n}" for n in range(1, 6))}
    assert (data.labels, data.validation_splits) == ("seven", PAPER.validation_splits)
    assert {one["split"] for one in fold_rows(fold, data) if one["corpus"] == "iemocap"} == {
        f"session{n}" for n in (2, 3, 4, 5)
    }


def test_fold_of_meld_selects_on_the_dev_part():
    protocol = PROTOCOLS["meld-4"]
    with pytest.raises(SpeakerLeakError):
        training_fold(protocol, MELD, DataArguments())
    fold = training_fold(protocol, MELD, DataArguments(), allow_leak=True)
    data = arguments_for_fold(DataArguments(), fold, protocol)
    assert data.validation_splits == ["dev"]
    assert {one["split"] for one in fold_rows(fold, data)} == {"train", "dev"}
    without_validation = arguments_for_fold(DataArguments(validation_fraction=0), fold, protocol)
    assert {one["split"] for one in fold_rows(fold, without_validation)} == {"train"}


def test_fold_keeps_unlabelled_speech_for_the_recipe():
    protocol = PROTOCOLS["emodb-4-5fold"]
    unlabelled = [row(number, "commonvoice", str(number), None, "train") for number in range(900, 904)]
    rows = [*rows_for(protocol), *unlabelled]
    kept = training_fold(protocol, rows, DataArguments(labelled_languages=["en"]), "fold3")
    assert sum(one["corpus"] == "commonvoice" for one in kept.train) == 4
    assert sum(one["corpus"] == "emodb" for one in kept.train) == 32
    assert not any(one["corpus"] == "commonvoice" for one in training_fold(protocol, rows, PAPER, "fold3").train)


def test_fold_of_zero_shot_test_is_not_trained_on():
    aesdd = PROTOCOLS["aesdd"]
    fold = training_fold(aesdd, MELD, DataArguments())
    assert {one["emotion"] for one in fold.train} == set(aesdd.labels) & {one["emotion"] for one in MELD}
    with pytest.raises(SpeakerLeakError, match="aesdd"):
        training_fold(aesdd, [translated(one) for one in rows_for(aesdd)], DataArguments())


def test_unknown_fold_lists_the_known_ones(capsys):
    protocol = PROTOCOLS["iemocap-4"]
    for fold in (None, "session9", "6", "0"):
        with pytest.raises(ProtocolError, match="session1, session2, session3, session4, session5"):
            training_fold(protocol, IEMOCAP, DataArguments(), fold)
    recipe = str(Path(__file__).parents[1] / "recipe.yaml")
    assert main(["train", recipe, "--fold", "3", "--corpora", "folder=/nowhere"]) == 2
    assert "--protocol" in capsys.readouterr().err


def test_unlabelled_corpora_apply_to_every_language(tmp_path: Path):
    arguments = DataArguments(unlabelled_corpora=["ravdess"], labelled_languages=["en"], validation_fraction=0)
    tones = read_corpus("folder", write_tones(tmp_path / "tones", {"a": "en", "b": "en"}, takes=1)).rows
    target, human = ([one for one in tones if one["id"].startswith(name)] for name in "ab")
    target = [{**one, "corpus": "ravdess"} for one in target]
    data = prepare_data([*target, *human], arguments)
    assert {(clip.row["corpus"], clip.emotion is None) for clip in data.train} == {
        ("ravdess", True),
        ("folder", False),
    }
    with pytest.raises(InputError) as raised:
        prepare_data([*target, *human], DataArguments(unlabelled_corpora=["ravdes"]))
    assert raised.value.source == "unlabelled_corpora ravdes" and raised.value.problem.endswith(" folder, ravdess")
