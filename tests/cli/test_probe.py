# SPDX-License-Identifier: Apache-2.0
"""`run-mser probe`, from recordings to the table of layers."""

import json
import shutil

import pytest
from tone_corpus import write_tones

from run_mser import main


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tones")
    write_tones(folder / "train", {"anna": "de", "bert": "de", "carla": "de"}, takes=2)
    write_tones(folder / "test", {"dario": "it", "elena": "it"}, takes=1, seed=5)
    # A copy with other names of files and speakers.
    for file in sorted((folder / "test").glob("*.wav")):
        speaker, emotion, take = file.stem.split("-")
        (folder / "copy" / emotion).mkdir(parents=True, exist_ok=True)
        shutil.copy(file, folder / "copy" / emotion / f"{take}{speaker}.wav")
    return folder


def probe(encoder, tmp_path, corpora, *more):
    kept = ["--output_dir", str(tmp_path / "out"), "--cache_dir", str(tmp_path / "cache")]
    return main(["probe", "--encoder", str(encoder), "--corpora", *corpora, *kept, *more])


def test_probe_prints_a_line_per_layer(corpora, encoder, tmp_path, capsys):
    trained, tested = f"folder={corpora / 'train'}", f"folder={corpora / 'test'}"
    assert probe(encoder, tmp_path, [trained], "--test", tested) == 0
    result = json.loads((tmp_path / "out" / "probe.json").read_text(encoding="utf-8"))
    assert [one["layer"] for one in result["layers"]] == [0, 1, 2] and result["chosen"] in result["layers"]
    assert not result["leak"]["found"] and result["leak"]["tested"] == 8
    printed = capsys.readouterr()
    assert "24 training clips, 4 classes\n" in printed.out and "leak" not in printed.err
    # Without a test corpus nothing can be shared.
    assert probe(encoder, tmp_path, [trained]) == 0


def test_probe_shows_warnings_of_the_readers(corpora, encoder, tmp_path, capsys):
    shutil.copytree(corpora / "train", tmp_path / "train")
    with (tmp_path / "train" / "index.csv").open("a", encoding="utf-8") as index:
        index.write("gone.wav,sad,anna,de,female\n")
    words = [f"folder={tmp_path / 'train'}", "--max_clips", "20"]
    assert probe(encoder, tmp_path, words[:1], *words[1:]) == 0
    printed = capsys.readouterr()
    assert "folder: 1 of 25 listed files" in printed.err
    assert "20 training clips, 4 classes" in printed.out


def test_probe_rejects_training_clips_in_the_test_and_a_negative_number(corpora, encoder, tmp_path, capsys):
    trained, tested, copy = (f"folder={corpora / name}" for name in ("train", "test", "copy"))
    for fitted in ([trained, tested], [trained, copy]):
        assert probe(tmp_path / "no-encoder", tmp_path, fitted, "--test", tested) == 2
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert "8 of 8 test clips" in error and "--allow_leak" in error
        assert not (tmp_path / "out").exists()
    assert probe(encoder, tmp_path, [trained], "--test", tested, "--max_clips", "-1") == 2
    assert "--max_clips: -1" in capsys.readouterr().err
    assert probe(encoder, tmp_path, [trained, copy], "--test", tested, "--allow_leak") == 0
    leak = json.loads((tmp_path / "out" / "probe.json").read_text(encoding="utf-8"))["leak"]
    assert leak["found"] and leak["clips"] == 8 and not leak["speakers"]
    printed = capsys.readouterr()
    assert "4 classes, LEAK" in printed.out and "leak: 8 test recording(s)" in printed.err
