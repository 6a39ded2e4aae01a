# SPDX-License-Identifier: Apache-2.0
"""A small copy of each corpus in its published layout gives the rows that a person reads out of it."""

import itertools
from collections import Counter
from dataclasses import replace

import pytest
from corpus_trees import TREES, resd_parquet, touch

from mser_llm.data.corpora import CORPORA
from mser_llm.data.corpus_reader import read_known_corpus
from mser_llm.data.loaded_corpus import UNLABELLED
from mser_llm.data.read_corpus import read_corpus
from processing_mser.audio_mser import find_audio


LANGUAGES = {
    **dict.fromkeys(("iemocap", "meld", "msp-podcast", "cmu-mosei", "mead"), "en"),
    **dict.fromkeys(("ravdess", "tess", "crema-d", "savee"), "en"),
    "aesdd": "el",
    "resd": "ru",
    "shemo": "fa",
    "emodb": "de",
    "urdu": "ur",
    "subesco": "bn",
    "ased": "am",
    "nemo": "pl",
    "turev-db": "tr",
    "emovo": "it",
}


def meanings(reading):
    return {row["id"]: (row["emotion"], row["speaker"], row["gender"], row["split"]) for row in reading.rows}


def expected(name, clips):
    return {
        clip: (emotion, speaker and f"{name}-{speaker}", gender, split)
        for clip, (emotion, speaker, gender, split) in clips.items()
    }


def test_every_corpus_has_a_small_copy():
    assert set(TREES) == set(CORPORA)


@pytest.mark.parametrize("name", TREES)
def test_a_small_copy_gives_its_rows(name, tmp_path):
    if name == "cmu-mosei":
        pytest.importorskip("h5py")
    clips = TREES[name](tmp_path / "x" / "the corpus")
    reading = read_corpus(name, tmp_path / "x")
    assert meanings(reading) == expected(name, clips)
    assert reading.found == Counter(emotion or UNLABELLED for emotion, *_ in clips.values())
    assert {row["corpus"] for row in reading.rows} == {name}
    if name in LANGUAGES:
        assert {row["language"] for row in reading.rows} == {LANGUAGES[name]}
    assert reading.unmatched == []
    files = set(map(str, find_audio([tmp_path])))
    assert {row["audio"]["path"] for row in reading.rows} <= files
    assert all(row["audio"]["bytes"] is None for row in reading.rows)
    # What was found stands beside what is published, and nothing but that differs.
    assert str(reading).startswith(f"{name}: ")
    differs = [warning for warning in reading.warnings if " expected" in warning]
    assert len(differs) == (CORPORA[name].clips is not None)


@pytest.mark.parametrize("name", TREES)
def test_rows_come_in_the_order_of_their_paths_and_do_not_depend_on_the_place(name, tmp_path):
    if name == "cmu-mosei":
        pytest.importorskip("h5py")
    for place in ("a", "b/c"):
        TREES[name](tmp_path / place / "corpus")
    first, second = (read_corpus(name, tmp_path / place).rows for place in ("a", "b/c"))
    assert [{**row, "audio": None} for row in first] == [{**row, "audio": None} for row in second]
    if name != "crema-d":  # there a clip has the place of its first format
        assert [row["audio"]["path"] for row in first] == sorted(row["audio"]["path"] for row in first)


def test_languages_of_common_voice(tmp_path):
    TREES["common-voice"](tmp_path)
    reading = read_corpus("common-voice", tmp_path)
    # zh is Mandarin here; the Cantonese of Hong Kong is not.
    assert {row["id"].split("_")[2]: row["language"] for row in reading.rows} == {
        "fr": "fr",
        "zh-CN": "zh",
        "zh-HK": "zh-HK",
    }
    assert reading.rows[0]["transcript"] == '"Bonjour, dit-il.'
    assert reading.rows[0]["emotion"] is None
    assert reading.skipped == {"invalidated by listeners": 1}
    assert reading.release == "22.0-2025-06-20"
    assert reading.warnings == []


@pytest.mark.parametrize(
    ("name", "clip", "words"),
    [
        ("iemocap", "Ses01F_impro01_M000", "Do you have your forms?"),
        ("meld", "train/dia0_utt0", "also I was, the point person"),
        ("meld", "train/dia0_utt1", "You must\u2019ve had your hands full."),
        ("crema-d", "1040_ITH_SAD_X", "I think I have a doctor's appointment."),
        ("tess", "OAF_back_ps", "Say the word back"),
        ("nemo", "WR0_surprised_64", "Ucho wykrywa dźwięki."),
        ("emodb", "16b10Lb", "Die wird auf dem Platz sein, wo wir sie immer hinlegen."),
    ],
)
def test_transcripts(name, clip, words, tmp_path):
    TREES[name](tmp_path)
    assert {row["id"]: row["transcript"] for row in read_corpus(name, tmp_path).rows}[clip] == words


def test_resd_as_the_hub_has_it(tmp_path, monkeypatch):
    clips = resd_parquet(tmp_path / "resd", b"RIFF")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    reading = read_corpus("resd", tmp_path)
    assert meanings(reading) == expected("resd", clips)
    assert not (tmp_path / "cache").exists(), "to list the rows no recording is read"
    by_id = {row["id"]: row["audio"] for row in reading.rows}
    assert by_id["1_anger_fear f_011"]["bytes"] == b"RIFF1_anger_fear f_011"
    assert by_id["32_happiness_enthusiasm_h_120"]["bytes"] == b"RIFF32_happiness_enthusiasm_h_120"
    assert by_id["1_anger_fear f_011"]["path"].endswith("test-00000-of-00001.parquet/1_anger_fear f_011")


def emovo_names():
    sentences = ["b1", "b2", "b3", "d1", "d2", "l1", "l2", "l3", "l4", "n1", "n2", "n3", "n4", "n5"]
    emotions = ["dis", "gio", "neu", "pau", "rab", "sor", "tri"]
    for speaker, emotion, sentence in itertools.product(("f1", "f2", "f3", "m1", "m2", "m3"), emotions, sentences):
        yield f"{speaker}/{emotion}-{speaker}-{sentence}.wav"


def savee_names():
    for speaker in ("DC", "JE", "JK", "KL"):
        for emotion in ("a", "d", "f", "h", "sa", "su"):
            yield from (f"ALL/{speaker}_{emotion}{number:02d}.wav" for number in range(1, 16))
        yield from (f"ALL/{speaker}_n{number:02d}.wav" for number in range(1, 31))


@pytest.mark.parametrize(("name", "names", "clips"), [("emovo", emovo_names, 588), ("savee", savee_names, 480)])
def test_a_whole_corpus_differs_nowhere(name, names, clips, tmp_path):
    touch(tmp_path, *names())
    reading = read_corpus(name, tmp_path)
    assert len(reading.rows) == clips
    assert reading.warnings == []
    assert "<- differs" not in str(reading)


@pytest.mark.parametrize(
    ("name", "clips", "warning"),
    [
        ("mead", 8, None),
        ("mead", 9, "8 clips found, 9 expected"),
        # Five with one strongest emotion, one without any, one with two.
        ("cmu-mosei", 7, None),
        ("cmu-mosei", 5, "5 clips found and 2 left out, 5 expected"),
    ],
)
def test_a_published_total_counts_what_is_left_out(name, clips, warning, tmp_path):
    pytest.importorskip("h5py")
    TREES[name](tmp_path)
    reading = read_known_corpus(replace(CORPORA[name], expected_total=clips, speakers=None), tmp_path)
    assert reading.warnings == ([warning] if warning else [])


def test_the_clips_but_not_the_speakers_or_the_splits(tmp_path):
    touch(tmp_path / "savee", *(name.replace("KL_", "ZZ_") for name in savee_names()))
    assert read_corpus("savee", tmp_path / "savee").warnings == []
    touch(tmp_path / "more", *(name.replace("KL_n2", "XX_n2") for name in savee_names()))
    assert read_corpus("savee", tmp_path / "more").warnings == ["every clip is there, but of 5 speakers, 4 expected"]
    TREES["resd"](tmp_path / "resd")
    few = replace(
        CORPORA["resd"],
        expected=dict.fromkeys(CORPORA["resd"].expected, 1),
        expected_splits={"train": 4, "test": 3},
    )
    assert read_known_corpus(few, tmp_path / "resd").warnings == [
        "every clip is there, but not in its split: train 3 of 4, test 4 of 3"
    ]
