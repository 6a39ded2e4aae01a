# SPDX-License-Identifier: Apache-2.0
"""Table I on tones as rows of IEMOCAP, MELD, M5SER and AESDD: training clips of each fold, and leaks."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from tone_corpus import PITCHES

from mser_llm.cli import reproduce
from mser_llm.cli.reproduce import ReproduceArguments
from mser_llm.data.splits import SpeakerLeakError
from mser_llm.evaluation.protocols import PROTOCOLS
from mser_llm.reproduction.table1 import check_zero_shot, table1a, table1b


WORDS = ("neutral", "happy", "sad", "angry")


def clip(folder: Path, corpus: str, name: str, emotion: str, speaker: str | None, **columns: Any) -> dict[str, Any]:
    path = folder / corpus / f"{name}.wav"
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(sum(map(ord, f"{corpus}{name}")))
    tone = np.sin(2 * np.pi * PITCHES.get(emotion, 3000) * np.arange(5000) / 16000)
    soundfile.write(path, 0.3 * tone + 0.01 * rng.standard_normal(5000), 16000)
    row = {"id": name, "audio": {"bytes": None, "path": str(path)}, "emotion": emotion, "language": "en"}
    row |= {"corpus": corpus, "speaker": speaker, "gender": None, "transcript": None, "duration": None, "split": None}
    return row | columns


@pytest.fixture(scope="module")
def iemocap(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("iemocap")
    return [
        clip(folder, "iemocap", f"{session}{gender}-{emotion}", emotion, f"iemocap-{session}{gender}", split=session)
        for session in ("Session1", "Session2")
        for gender in "FM"
        for emotion in WORDS
    ]


@pytest.fixture(scope="module")
def m5ser(iemocap, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Every clip of IEMOCAP in French."""
    folder = tmp_path_factory.mktemp("m5ser")
    return [
        clip(folder, "m5ser", f"fr-{row['id']}", row["emotion"], row["speaker"], language="fr", translator="toy")
        | {"source_corpus": "iemocap", "source_id": row["id"]}
        for row in iemocap
    ]


@pytest.fixture
def recipes(tiny_recipes: Path, tmp_path: Path):
    arguments = ReproduceArguments("table1a", recipe=str(tiny_recipes), cache_dir=str(tmp_path / "cache"))
    return arguments.family.of_systems


def test_fold_trains_on_no_translation_of_its_test(iemocap, m5ser, recipes, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("mser_llm.reproduction.table1.TABLE_1A", ("iemocap-4",))
    text = table1a({"iemocap": iemocap, "m5ser": m5ser}, recipes, [0], tmp_path / "table1a")
    for tested in ("Session1", "Session2"):
        run = tmp_path / "table1a" / "iemocap-4" / tested / "seed0" / "stage1-contrast_stage2-contrast"
        results = json.loads((run / "train_results.json").read_text(encoding="utf-8"))
        # 8 clips of the other session and their 8 translations, and nothing of the tested session.
        assert results["clips"]["train"] == 16
        assert not any(tested in speaker for speaker in results["speakers"])
    table = json.loads((tmp_path / "table1a" / "table1a.json").read_text(encoding="utf-8"))
    assert [line["by"] for line in table["lines"]] == ["ours", "paper", *["cited"] * 4]
    ours, paper = table["lines"][:2]
    assert ours["tested_on"] == "iemocap 16" and ours["classes"] == 4 and not ours["leak"]
    assert paper["figures"]["WA"]["mean"] == 0.703
    assert "16 clips were scored where the protocol has 5531" in text


def test_table2_takes_a_fold_of_a_protocol(iemocap, m5ser, tiny_recipes, tmp_path: Path, monkeypatch):
    """Table II of the paper is on IEMOCAP, on which it also trains."""
    monkeypatch.setattr(reproduce, "read_rows", lambda corpora: {"iemocap": iemocap, "m5ser": m5ser})
    words = {"recipe": str(tiny_recipes), "output_dir": str(tmp_path), "protocol": "iemocap-4", "fold": "2"}
    found = reproduce.experiment(ReproduceArguments("table2", **words))
    assert found.labels.name == "four" and list(found.tests) == ["iemocap"]
    assert {row["split"] for row in found.tests["iemocap"]} == {"Session2"}
    speakers = {row["speaker"] for row in found.training}
    assert speakers == {"iemocap-Session1F", "iemocap-Session1M"} and not found.leak.found
    assert {row["corpus"] for row in found.training} == {"iemocap", "m5ser"}
    with pytest.raises(ValueError, match="--test"):
        reproduce.experiment(ReproduceArguments("table2", test=["emodb=x"], **words))


@pytest.mark.slow
def test_english_only_trains_in_one_stage(iemocap, recipes, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("mser_llm.reproduction.table1.TABLE_1A", ("iemocap-4",))
    table1a({"iemocap": iemocap}, recipes, [0], tmp_path)
    found = sorted(path.parent.name for path in tmp_path.glob("iemocap-4/*/seed0/*/model.safetensors"))
    assert found == ["stage1-contrast"] * 2


def test_table1_with_meld_needs_allow_leak(recipes, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("mser_llm.reproduction.table1.TABLE_1A", ("meld-4",))
    rows = [
        clip(tmp_path, "meld", f"{split}-{speaker}-{emotion}", emotion, f"meld-{speaker}", split=split)
        for split in ("train", "dev", "test")
        for speaker in ("Ross", "Joey")
        for emotion in WORDS
    ]
    with pytest.raises(SpeakerLeakError, match="allow_leak"):
        table1a({"meld": rows}, recipes, [0], tmp_path / "refused")
    assert not (tmp_path / "refused").exists()
    text = table1a({"meld": rows}, recipes, [0], tmp_path / "allowed", allow_leak=True)
    assert "meld-4 (LEAK)" in text and "validation part is neither trained on nor tested" in text


def test_table1b_has_the_labels_of_each_corpus(tiny_model_dir: Path, tmp_path: Path):
    greek = ("happy", "sad", "angry", "disgust", "fear")
    aesdd = [
        clip(tmp_path, "aesdd", f"{emotion}-{speaker}", emotion, f"aesdd-{speaker}", language="el")
        for emotion in (*greek, "neutral")
        for speaker in (1, 2)
    ]
    (tmp_path / "trained").mkdir()
    for path in tiny_model_dir.iterdir():
        (tmp_path / "trained" / path.name).symlink_to(path)
    trained_on = {"speakers": ["x-1"], "recordings": [], "corpora": ["x"], "languages": ["en"]}
    record = {"data": {"heard": trained_on, "languages": {"en": 1}, "corpora": []}}
    record["data"] |= {"sources": [{"corpus": "x", "clips": 3, "translator": None, "seconds": 1.0}]}
    record |= {"parameters": {part: {"parameters": 1, "trained": 1} for part in ("audio_tower", "language_model")}}
    (tmp_path / "trained" / "train_results.json").write_text(json.dumps(record), encoding="utf-8")
    text = table1b([tmp_path / "trained"], {"aesdd": aesdd}, tmp_path / "out")
    table = json.loads((tmp_path / "out" / "table1b.json").read_text(encoding="utf-8"))
    ours, paper, cited = table["lines"]
    assert (ours["classes"], ours["tested_on"], ours["trained_on"]) == (5, "aesdd 10", "x 3")
    assert (paper["by"], paper["figures"]["UA"]["mean"]) == ("paper", 0.426)
    assert (cited["by"], cited["figures"]["UA"]["mean"]) == ("cited", 0.723)
    assert "The corpus has no neutral speech." in text
    trained_on["corpora"] = ["aesdd"]
    (tmp_path / "trained" / "train_results.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(SpeakerLeakError, match="aesdd"):
        table1b([tmp_path / "trained"], {"aesdd": aesdd}, tmp_path / "out")
    with pytest.raises(SpeakerLeakError, match="zero-shot"):
        check_zero_shot(aesdd[:1], {"aesdd": aesdd[1:]}, allow_leak=False)
    with pytest.raises(ValueError, match="--test"):
        table1b([tmp_path / "trained"], {"emodb": aesdd}, tmp_path / "out")


def test_table1b_marks_model_without_training_record(tiny_model_dir: Path, tmp_path: Path):
    aesdd = [clip(tmp_path, "aesdd", emotion, emotion, "aesdd-1", language="el") for emotion in ("happy", "sad")]
    text = table1b([tiny_model_dir], {"aesdd": aesdd}, tmp_path / "out")
    ours = json.loads((tmp_path / "out" / "table1b.json").read_text(encoding="utf-8"))["lines"][0]
    assert ours["trained_on"] == "not recorded" and ours["tested_on"] == "aesdd 2" and not ours["leak"]
    assert "encoder from scratch" in ours["backbones"] and "LLaMA from scratch" in ours["backbones"]
    assert "train_results.json" in text


def test_table1_protocols_have_the_row_of_the_paper():
    from mser_llm.reproduction.published import TABLE_1A, TABLE_1B, is_own, published_rows

    for names, where in ((TABLE_1A, "Table I a"), (TABLE_1B, "Table I b")):
        for name in names:
            (own,) = [system for system in published_rows(name, where) if is_own(system)]
            metrics = {number.metric for number in published_rows(name, where)[own]}
            assert metrics == {"WA", "UA", "WF1"} and name in PROTOCOLS
