# SPDX-License-Identifier: Apache-2.0
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mser_llm.data.read_corpus import read_corpus
from mser_llm.data.synthesis import demo_speech
from mser_llm.data.synthesis.demo_prosody import RULES, draw_prosody
from mser_llm.data.synthesis.demo_speech import (
    DEMO_LANGUAGES,
    DEMO_SENTENCES,
    HELD_OUT_LANGUAGES,
    HELD_OUT_VOICES,
    VOICES,
    demo_rows,
    write_demo_speech,
)
from mser_llm.io.errors import InputError
from processing_mser.emotions_mser import LABEL_SETS


pytest.importorskip("espeakng_loader")

ROOT = Path(__file__).resolve().parents[3]
ALL = DEMO_LANGUAGES + HELD_OUT_LANGUAGES


def test_sentences_are_parallel_and_in_the_right_script():
    assert set(DEMO_SENTENCES) == set(ALL)
    assert len({len(sentences) for sentences in DEMO_SENTENCES.values()}) == 1
    scripts = {"zh": "CJK", "el": "GREEK", "ru": "CYRILLIC", "fa": "ARABIC"}
    for language, sentences in DEMO_SENTENCES.items():
        assert len(sentences) == len(set(sentences)) >= 30
        for sentence in sentences:
            letters = [c for c in sentence if c.isalpha()]
            assert {unicodedata.name(c).split()[0] for c in letters} == {scripts.get(language, "LATIN")}, sentence


def test_rules_cover_seven_emotions_that_overlap():
    assert tuple(RULES) == LABEL_SETS["seven"].words
    pitches = {
        emotion: [
            draw_prosody(emotion, np.random.default_rng(i // 10), np.random.default_rng(i)).pitch for i in range(200)
        ]
        for emotion in ("neutral", "happy", "surprise", "fear")
    }
    assert np.mean(pitches["neutral"]) < np.mean(pitches["happy"]) < np.mean(pitches["fear"])
    assert max(pitches["neutral"]) > min(pitches["happy"])
    assert max(pitches["happy"]) > min(pitches["fear"])


def test_rows_are_balanced_with_new_speakers_in_test_languages():
    rows = demo_rows("x", languages=ALL, clips_per_language=140, seed=0)
    assert len({row["id"] for row in rows}) == len(rows) == 140 * len(ALL)
    for language in ALL:
        mine = [row for row in rows if row["language"] == language]
        voices = HELD_OUT_VOICES if language in HELD_OUT_LANGUAGES else VOICES
        pairs = {(row["emotion"], row["speaker"]) for row in mine}
        assert len(pairs) == 7 * len(voices)
        assert {row["emotion"]: 0 for row in mine}.keys() == set(RULES)
        assert all(row["transcript"] in DEMO_SENTENCES[language] for row in mine)
        assert {row["split"] for row in mine} == {"test" if language in HELD_OUT_LANGUAGES else "train"}
    assert not {voice.speaker for voice in VOICES} & {voice.speaker for voice in HELD_OUT_VOICES}
    for voices in (VOICES, HELD_OUT_VOICES):
        assert {voice.gender for voice in voices} == {"female", "male"}


def test_larger_demo_starts_with_the_smaller_one():
    few, many = (demo_rows("x", languages=["fr"], clips_per_language=n, seed=3) for n in (9, 30))
    assert many[:9] == few
    other = demo_rows("x", languages=["fr"], clips_per_language=9, seed=4)
    assert not {row["id"] for row in other} & {row["id"] for row in few}


@pytest.mark.parametrize(("languages", "clips"), [(["pl"], 1), (["en", "fr"], {"en": 1})])
def test_demo_rows_rejects_wrong_languages(languages, clips):
    with pytest.raises(InputError) as caught:
        demo_rows("x", languages=languages, clips_per_language=clips, seed=0)
    assert repr(languages[-1]) in caught.value.source


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    return folder, write_demo_speech(folder, clips_per_language=14, seed=5, progress=False)


def test_clips_are_speech_of_one_to_three_seconds(spoken):
    _, rows = spoken
    assert len(rows) == 14 * len(ALL)
    for row in rows:
        clip, rate = soundfile.read(row["audio"]["path"], dtype="float32")
        assert rate == 16_000
        assert row["duration"] == pytest.approx(len(clip) / rate)
        assert 1.0 <= row["duration"] <= 3.0
        assert 0.03 < np.abs(clip).max() < 0.99
        # The speech is louder than the noise.
        frames = clip[: len(clip) // 320 * 320].reshape(-1, 320).std(axis=1)
        assert np.quantile(frames, 0.9) > 2 * np.quantile(frames, 0.02), row["id"]


def test_emotions_follow_the_rules(spoken):
    _, rows = spoken
    seconds = {emotion: np.mean([row["duration"] for row in rows if row["emotion"] == emotion]) for emotion in RULES}
    assert seconds["fear"] < seconds["neutral"] < seconds["sad"]
    assert seconds["angry"] < seconds["disgust"]


def test_files_do_not_depend_on_process_order_and_hash_seed(spoken, tmp_path):
    folder, _ = spoken
    code = (
        "import sys; from mser_llm.data.synthesis.demo_speech import write_demo_speech\n"
        "write_demo_speech(sys.argv[1], languages=['zh', 'fa'], clips_per_language=3, seed=5, progress=False)\n"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, env=environment, check=True)
    files = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.flac"))
    assert len(files) == 6
    for file in files:
        assert (tmp_path / file).read_bytes() == (folder / file).read_bytes()


def test_interrupted_run_is_resumed(spoken, tmp_path):
    request = {"languages": ["de"], "seed": 5, "progress": False}
    write_demo_speech(tmp_path, clips_per_language=4, **request)
    paths = sorted(tmp_path.rglob("*.flac"))
    reference = [path.read_bytes() for path in paths]
    ages = [path.stat().st_mtime_ns for path in paths]
    paths[1].unlink()
    paths[2].write_bytes(b"")
    rows = write_demo_speech(tmp_path, clips_per_language=5, **request)
    assert [path.read_bytes() for path in paths] == reference
    assert [path.stat().st_mtime_ns == age for path, age in zip(paths, ages)] == [True, False, False, True]
    assert len(rows) == len(list(tmp_path.rglob("*.flac"))) == 5
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()]


def test_clips_of_another_recipe_are_replaced(tmp_path, monkeypatch):
    request = {"languages": ["de"], "clips_per_language": 1, "progress": False}
    (row,) = write_demo_speech(tmp_path, **request)
    path = Path(row["audio"]["path"])
    path.write_bytes((ROOT / "LICENSE").read_bytes())
    monkeypatch.setattr(demo_speech, "_RECIPE", demo_speech._RECIPE + 1)
    write_demo_speech(tmp_path, **request)
    assert soundfile.info(path).duration == row["duration"]


def test_index_can_be_read_as_a_folder(spoken):
    folder, rows = spoken
    corpus = read_corpus("folder", folder)
    assert corpus.warnings == []
    kept = ("emotion", "language", "gender", "transcript", "split")
    assert [[row[column] for column in kept] for row in corpus.rows] == [
        [row[column] for column in kept] for row in rows
    ]
    assert [row["audio"] for row in corpus.rows] == [row["audio"] for row in rows]
