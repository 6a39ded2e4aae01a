# SPDX-License-Identifier: Apache-2.0
"""Each corpus: its declaration is complete, and a small copy in its published layout gives the expected rows."""

import itertools
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from corpus_trees import TREES, resd_parquet, touch

from mser_llm.data.corpora import CORPORA
from mser_llm.data.corpus_reader import read_known_corpus
from mser_llm.data.loaded_corpus import UNLABELED, CorpusError
from mser_llm.data.read_corpus import read_corpus
from processing_mser.audio_mser import find_audio
from processing_mser.emotions_mser import EMOTIONS


DOCS = Path(__file__).resolve().parents[3] / "docs"
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
    "banglaser": "bn",
    "spanish": "es",
    "emogator": "zxx",
    "librispeech": "en",
    "unlabeled": None,
    "casia": "zh",
    "eyase": "ar",
    "jl-corpus": "en",
    "emov-db": "en",
    "cafe": "fr",
    "oreau": "fr",
    "mesd": "es",
    "emozionalmente": "it",
    "kannada": "kn",
    "baved": "ar",
    "dusha": "ru",
    "thai-ser": "th",
}


def columns(corpus):
    return {row["id"]: (row["emotion"], row["speaker"], row["gender"], row["split"]) for row in corpus.rows}


def with_prefix(name, clips):
    return {
        clip: (emotion, speaker and f"{name}-{speaker}", gender, split)
        for clip, (emotion, speaker, gender, split) in clips.items()
    }


@pytest.mark.parametrize("name", CORPORA)
def test_declaration_is_complete(name):
    spec = CORPORA[name]
    assert spec.name == name
    assert name in TREES
    assert set(spec.labels.values()) <= set(EMOTIONS)
    if spec.expected:
        assert set(spec.expected) == set(spec.labels.values())
        assert sum(spec.expected_splits.values()) in (0, sum(spec.expected.values()))
    assert spec.matcher().fullmatch(spec.example)
    assert spec.license and spec.how_to_get and spec.citation


def page_rows(page):
    lines = [line for line in (DOCS / page).read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    return [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines]


def test_pages_list_every_corpus_and_label():
    assert page_rows("corpora.md") == [
        [
            name,
            spec.language,
            str(spec.clips or "?"),
            str(spec.speakers or "?"),
            ", ".join(word for word in EMOTIONS if word in spec.labels.values()) or "none",
            spec.license,
            "yes" if spec.redistribution else "no",
            "no" if spec.non_commercial else "yes",
        ]
        for name, spec in CORPORA.items()
    ]
    labels = {row[0]: row[1] for row in page_rows("emotions.md")}
    for name, spec in CORPORA.items():
        if spec.labels:
            assert labels[name] == ", ".join(f"{label} {emotion}" for label, emotion in spec.labels.items())


@pytest.mark.parametrize(
    ("corpus", "label", "emotion"),
    [
        ("iemocap", "exc", "excited"),
        ("meld", "Joy", "happy"),
        ("msp-podcast", "C", "contempt"),
        ("ravdess", "02", "calm"),
        ("emodb", "W", "angry"),
        ("emodb", "F", "happy"),
        ("nemo", " Surprised ", "surprise"),
        ("nemo", "joy", None),
        ("emodb", "w", None),
        ("ravdess", "F", None),
        ("common-voice", "happy", None),
        ("nemo", " ", None),
    ],
)
def test_canonical_emotion_uses_the_labels_of_the_corpus(corpus, label, emotion):
    assert CORPORA[corpus].canonical_emotion(label) == emotion


@pytest.mark.parametrize("name", TREES)
def test_small_copy_gives_its_rows_in_any_place(name, tmp_path):
    if name == "cmu-mosei":
        pytest.importorskip("h5py")
    clips = TREES[name](tmp_path / "x" / "the corpus")
    # The ids of recordings without labels are their paths, so the place matters.
    corpus = read_corpus(name, tmp_path / "x" / ("the corpus" if name == "unlabeled" else ""))
    assert columns(corpus) == with_prefix(name, clips)
    assert corpus.found == Counter(emotion or UNLABELED for emotion, *_ in clips.values())
    assert {row["corpus"] for row in corpus.rows} == {name}
    if name in LANGUAGES:
        assert {row["language"] for row in corpus.rows} == {LANGUAGES[name]}
    assert corpus.unmatched == []
    assert {row["audio"]["path"] for row in corpus.rows} <= set(map(str, find_audio([tmp_path])))
    assert all(row["audio"]["bytes"] is None for row in corpus.rows)
    assert str(corpus).startswith(f"{name}: ")
    # The only difference from the published corpus is the number of clips.
    counts = [warning for warning in corpus.warnings if str(CORPORA[name].clips) in warning]
    assert len(counts) == (CORPORA[name].clips is not None)

    TREES[name](tmp_path / "y")
    again = read_corpus(name, tmp_path / "y").rows
    assert [{**row, "audio": None} for row in again] == [{**row, "audio": None} for row in corpus.rows]
    if name != "crema-d":  # there a clip is in the folder of its first format
        assert [row["audio"]["path"] for row in again] == sorted(row["audio"]["path"] for row in again)


def test_common_voice_languages_and_splits(tmp_path):
    TREES["common-voice"](tmp_path)
    corpus = read_corpus("common-voice", tmp_path)
    # zh means Mandarin; Hong Kong's Cantonese is another language.
    assert {row["id"].split("_")[2]: row["language"] for row in corpus.rows} == {
        "fr": "fr",
        "zh-CN": "zh",
        "zh-HK": "zh-HK",
    }
    assert corpus.rows[0]["transcript"] == '"Bonjour, dit-il.'
    assert list(corpus.skipped.values()) == [1]  # invalidated
    assert corpus.release == "22.0-2025-06-20"
    assert corpus.warnings == []


@pytest.mark.parametrize(
    ("name", "clip", "transcript"),
    [
        ("iemocap", "Ses01F_impro01_M000", "Do you have your forms?"),
        ("meld", "train/dia0_utt0", "also I was, the point person"),
        ("meld", "train/dia0_utt1", "You must\u2019ve had your hands full."),
        ("ravdess", "03-01-06-02-02-02-24", "Dogs are sitting by the door"),
        ("crema-d", "1040_ITH_SAD_X", "I think I have a doctor's appointment."),
        ("tess", "OAF_back_ps", "Say the word back"),
        ("cafe", "11-N-1-4", "Quatre vieilles truies éléphantesques"),
        ("emozionalmente", "1613658366450", "Io, tu"),
        ("dusha", "trainsad", "да"),
        ("baved", "7-F-33-6-2-1", "سيئ"),
        ("nemo", "WR0_surprised_64", "Ucho wykrywa dźwięki."),
        ("librispeech", "84-121123-0000", "GO DO YOU HEAR"),
        ("emodb", "16b10Lb", "Die wird auf dem Platz sein, wo wir sie immer hinlegen."),
    ],
)
def test_transcripts(name, clip, transcript, tmp_path):
    TREES[name](tmp_path)
    assert {row["id"]: row["transcript"] for row in read_corpus(name, tmp_path).rows}[clip] == transcript


def test_resd_reads_parquet_from_the_hub(tmp_path, monkeypatch):
    clips = resd_parquet(tmp_path / "resd", b"RIFF")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    corpus = read_corpus("resd", tmp_path)
    assert columns(corpus) == with_prefix("resd", clips)
    assert not (tmp_path / "cache").exists(), "listing must not read recordings"
    by_id = {row["id"]: row["audio"] for row in corpus.rows}
    for clip in ("1_anger_fear f_011", "32_happiness_enthusiasm_h_120"):
        assert by_id[clip]["bytes"] == b"RIFF" + clip.encode()
    assert by_id["1_anger_fear f_011"]["path"].endswith("test-00000-of-00001.parquet/1_anger_fear f_011")


def test_banglaser_leaves_out_repeated_recordings(tmp_path):
    touch(tmp_path, "03-01-01-01-01-01-17.wav", "03-01-01-01-01-03-17.wav", "03-01-06-01-01-03-17.wav")
    corpus = read_corpus("banglaser", tmp_path)
    assert [row["id"] for row in corpus.rows] == ["03-01-01-01-01-01-17"]
    assert list(corpus.skipped.values()) == [1]
    assert [path.name for path in corpus.unmatched] == ["03-01-06-01-01-03-17.wav"]  # a code of RAVDESS


def test_esd_has_two_languages(tmp_path):
    TREES["esd"](tmp_path)
    languages = {row["speaker"]: row["language"] for row in read_corpus("esd", tmp_path).rows}
    assert languages == {"esd-0001": "zh", "esd-0010": "zh", "esd-0011": "en", "esd-0019": "en"}


def test_thai_ser_needs_listeners_who_agree(tmp_path):
    TREES["thai-ser"](tmp_path)
    labels = tmp_path / "emotion_label_v1.json"
    labels.write_text(labels.read_text().replace('[["Happy"]]', '[["Happy"], ["Sad"]]'))
    corpus = read_corpus("thai-ser", tmp_path)
    assert [path.name for path in corpus.unmatched] == ["s001_3.flac"]
    assert list(corpus.skipped.values()) == [1]  # the second microphone
    labels.write_text("{}")
    with pytest.raises(CorpusError, match="no valid record"):
        read_corpus("thai-ser", tmp_path)
    labels.write_text("no JSON")
    with pytest.raises(CorpusError, match="cannot be read"):
        read_corpus("thai-ser", tmp_path)


def test_dusha_lists_clips_without_agreement(tmp_path):
    TREES["dusha"](tmp_path)
    touch(tmp_path, "crowd_train/wavs/0a1b.wav")
    assert [path.name for path in read_corpus("dusha", tmp_path).unmatched] == ["0a1b.wav"]


def test_iemocap_has_two_speakers_per_session(tmp_path):
    TREES["iemocap"](tmp_path)
    corpus = read_corpus("iemocap", tmp_path)
    # The same person wears the markers in one dialogue and not in the next.
    by_id = {row["id"]: row for row in corpus.rows}
    assert by_id["Ses05M_script03_2b_F023"]["speaker"] == "iemocap-Ses05F"
    assert by_id["Ses05M_impro05a_M001"]["speaker"] == "iemocap-Ses05M"


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


@pytest.mark.parametrize(("name", "names"), [("emovo", emovo_names), ("savee", savee_names)])
def test_complete_corpus_has_no_warnings(name, names, tmp_path):
    touch(tmp_path, *names())
    corpus = read_corpus(name, tmp_path)
    assert (corpus.found, corpus.warnings) == (corpus.expected, [])
    assert "differs" not in str(corpus)


@pytest.mark.parametrize(
    ("name", "clips", "numbers"),
    [
        ("mead", 8, []),
        ("mead", 9, ["8", "9"]),
        # Five clips with one strongest emotion, one without any, one with two.
        ("cmu-mosei", 7, []),
        ("cmu-mosei", 5, ["5", "2", "5"]),
    ],
)
def test_published_total_includes_clips_left_out(name, clips, numbers, tmp_path):
    pytest.importorskip("h5py")
    TREES[name](tmp_path)
    corpus = read_known_corpus(replace(CORPORA[name], expected_total=clips, speakers=None), tmp_path)
    assert [word for warning in corpus.warnings for word in warning.split() if word.isdigit()] == numbers


def test_speakers_and_splits_are_compared_if_the_clips_agree(tmp_path):
    touch(tmp_path / "savee", *(name.replace("KL_", "ZZ_") for name in savee_names()))
    assert read_corpus("savee", tmp_path / "savee").warnings == []
    touch(tmp_path / "more", *(name.replace("KL_n2", "XX_n2") for name in savee_names()))
    (warning,) = read_corpus("savee", tmp_path / "more").warnings
    assert "5 speakers" in warning
    TREES["resd"](tmp_path / "resd")
    few = replace(
        CORPORA["resd"],
        expected=dict.fromkeys(CORPORA["resd"].expected, 1),
        expected_splits={"train": 4, "test": 3},
    )
    (warning,) = read_known_corpus(few, tmp_path / "resd").warnings
    assert "train 3 of 4, test 4 of 3" in warning


@pytest.fixture
def real_corpus(corpora_dir):
    """Read a real corpus, or skip."""

    def read(name, folder=None):
        path = corpora_dir / (folder or name)
        return read_corpus(name, path) if path.is_dir() else pytest.skip(f"no {path}")

    return read


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("ravdess", None),
        ("nemo", None),
        ("emodb", "emodb-full"),
        ("emovo", None),
        ("turev-db", None),
        ("spanish", None),
    ],
)
def test_complete_real_corpora(name, folder, real_corpus):
    corpus = real_corpus(name, folder)
    assert (corpus.found, corpus.unmatched, corpus.warnings) == (CORPORA[name].expected, [], [])
    assert len({row["speaker"] for row in corpus.rows}) == CORPORA[name].speakers
    if name in ("ravdess", "nemo", "emodb"):
        assert all(row["gender"] and row["transcript"] for row in corpus.rows)


@pytest.mark.parametrize(
    ("name", "found", "speakers"),
    [
        ("emodb", {"angry": 127, "happy": 71, "sad": 62, "neutral": 79}, 10),
        # One neutral clip is missing and two recordings are repeated.
        ("banglaser", {"happy": 304, "sad": 306, "angry": 306, "surprise": 306, "neutral": 242}, 34),
        ("crema-d", {"happy": 999, "sad": 998, "disgust": 1, "neutral": 1}, 78),
        ("emogator", dict.fromkeys(("happy", "angry", "disgust", "fear", "neutral", "sad", "surprise"), 357), 357),
    ],
)
def test_parts_of_real_corpora(name, found, speakers, real_corpus):
    corpus = real_corpus(name)
    assert (corpus.found, corpus.unmatched) == (found, [])
    assert len({row["speaker"] for row in corpus.rows}) == speakers
    assert any("expected" in warning for warning in corpus.warnings)


@pytest.mark.parametrize(
    ("name", "folder", "clips"),
    [("librispeech", "librispeech", 242), ("unlabeled", "kerstin", 1374), ("unlabeled", "yoruba", 500)],
)
def test_real_recordings_without_labels(name, folder, clips, real_corpus):
    corpus = real_corpus(name, f"unlabelled/{folder}")
    assert (corpus.found, corpus.unmatched) == ({UNLABELED: clips}, [])
