# SPDX-License-Identifier: Apache-2.0
import itertools
import os
from collections import Counter
from pathlib import Path

import pytest

from mser_llm.data.corpora import CORPORA
from mser_llm.data.read_corpus import CorpusError, parse_corpora, read_corpus
from processing_mser.emotions_mser import CORPUS_LABELS, EMOTIONS


REAL = os.environ.get("MSER_CORPORA")


def touch(root: Path, *names: str) -> None:
    """Empty files: a reader that opened one as audio would fail."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def ravdess_names():
    for actor, emotion, statement, repetition in itertools.product(range(1, 25), range(1, 9), (1, 2), (1, 2)):
        for intensity in (1,) if emotion == 1 else (1, 2):
            stem = f"03-01-{emotion:02d}-{intensity:02d}-{statement:02d}-{repetition:02d}-{actor:02d}"
            yield f"Actor_{actor:02d}/{stem}.wav"


@pytest.fixture
def ravdess(tmp_path):
    touch(tmp_path, *ravdess_names())
    return tmp_path


@pytest.mark.parametrize("name", CORPORA)
def test_every_declared_corpus_is_complete(name):
    spec = CORPORA[name]
    assert spec.name == name
    assert spec.labelled == (name in CORPUS_LABELS)
    if spec.labelled:
        assert set(CORPUS_LABELS[name].values()) <= set(EMOTIONS)
    if spec.expected:
        assert set(spec.expected) == set(CORPUS_LABELS[name].values())
        assert sum(spec.expected_splits.values()) in (0, sum(spec.expected.values()))
    assert spec.matcher().fullmatch(spec.example)
    assert spec.license
    assert spec.how_to_get
    assert spec.citation


def test_ravdess_reads_the_published_layout(ravdess):
    reading = read_corpus("ravdess", ravdess)
    assert len(reading.rows) == 1440
    assert reading.found == {"neutral": 96} | dict.fromkeys(
        ("calm", "happy", "sad", "angry", "fear", "disgust", "surprise"), 192
    )
    assert reading.found == reading.expected
    assert (reading.unmatched, reading.warnings, reading.skipped) == ([], [], {})
    by_id = {row["id"]: row for row in reading.rows}
    assert len(by_id) == 1440
    assert by_id["03-01-08-02-02-01-07"] == {
        "id": "03-01-08-02-02-01-07",
        "audio": {"bytes": None, "path": str(ravdess / "Actor_07" / "03-01-08-02-02-01-07.wav")},
        "emotion": "surprise",
        "language": "en",
        "corpus": "ravdess",
        "speaker": "ravdess-07",
        "gender": "male",
        "transcript": "Dogs are sitting by the door",
        "duration": None,
        "split": None,
    }
    assert by_id["03-01-01-01-01-02-24"]["gender"] == "female"
    assert by_id["03-01-01-01-01-02-24"]["transcript"] == "Kids are talking by the door"


def test_ravdess_leaves_out_song_and_video_and_lists_strangers(ravdess):
    touch(
        ravdess,
        "Actor_01/03-02-04-01-01-01-01.wav",  # song
        "Actor_01/01-01-04-01-01-01-01.wav",  # video with sound
        "Actor_01/02-01-04-01-01-01-01.wav",  # video without sound
        "Actor_01/02-02-04-01-01-01-01.wav",  # video without sound, song
        "Actor_01/._03-01-04-01-01-01-01.wav",  # what macOS leaves beside a file
        "Actor_01/03-01-09-01-01-01-01.wav",  # no such emotion
        "Actor_01/03-01-04-01-01-01-25.wav",  # no such actor
        "Actor_01/x03-01-04-01-01-01-01.wav",
        "README.txt",
    )
    reading = read_corpus("ravdess", ravdess)
    assert len(reading.rows) == 1440
    assert sorted(reading.skipped.values()) == [1, 1, 2]
    assert [path.name for path in reading.unmatched] == [
        "03-01-04-01-01-01-25.wav",
        "03-01-09-01-01-01-01.wav",
        "x03-01-04-01-01-01-01.wav",
    ]
    assert len(reading.warnings) == 1
    assert "3 audio files" in reading.warnings[0]
    table = str(reading)
    assert "1440" in table
    assert "x03-01-04-01-01-01-01.wav" in table
    assert "song" in table


def test_any_extension_that_soundfile_opens_is_read(tmp_path):
    touch(tmp_path, "a/03a01Fa.wav", "a/03a01Nc.OGG", "b/16b10Lb.flac", "11b03E.aiff")
    rows = {row["id"]: row for row in read_corpus("emodb", tmp_path).rows}
    assert {key: row["emotion"] for key, row in rows.items()} == {
        "03a01Fa": "happy",
        "03a01Nc": "neutral",
        "16b10Lb": "boredom",
        "11b03E": "disgust",
    }
    assert (rows["16b10Lb"]["gender"], rows["16b10Lb"]["speaker"]) == ("female", "emodb-16")
    assert (rows["11b03E"]["gender"], rows["11b03E"]["speaker"]) == ("male", "emodb-11")
    assert rows["16b10Lb"]["transcript"] == "Die wird auf dem Platz sein, wo wir sie immer hinlegen."


def test_a_partial_corpus_warns_and_names_what_is_missing(tmp_path):
    touch(tmp_path, "wav/03a01Fa.wav", "wav/03a01Wa.wav")
    reading = read_corpus("emodb", tmp_path)
    assert reading.found == {"angry": 1, "happy": 1}
    (warning,) = reading.warnings
    assert "2 clips found, 535 expected" in warning
    assert "angry 1 of 127" in warning
    assert warning.endswith("no clip at all of boredom, disgust, fear, sad, neutral")


def test_nemo_takes_gender_and_transcript_from_its_table(tmp_path):
    touch(tmp_path, "samples/SK0_anger_1.ogg", "samples/WR0_surprised_64.ogg", "samples/WR0_bliss_1.ogg")
    (tmp_path / "data.tsv").write_text(
        "file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage\n"
        "WR0_surprised_64.wav\tsurprised\tUcho wykrywa dźwięki.\tucho wykrywa dźwięki\t        WR0\tmale\t23\n"
        "SK0_anger_1.wav\tanger\tLubię czytać.\tlubię czytać\tSK0\tfemale\t30\n",
        encoding="utf-8",
    )
    reading = read_corpus("nemo", tmp_path)
    first, second = reading.rows
    assert (first["id"], first["emotion"], first["gender"], first["speaker"]) == (
        "SK0_anger_1",
        "angry",
        "female",
        "nemo-SK0",
    )
    assert (second["emotion"], second["gender"], second["transcript"]) == ("surprise", "male", "Ucho wykrywa dźwięki.")
    assert [path.name for path in reading.unmatched] == ["WR0_bliss_1.ogg"]

    (tmp_path / "data.tsv").unlink()
    reading = read_corpus("nemo", tmp_path)
    assert {(row["gender"], row["transcript"]) for row in reading.rows} == {(None, None)}
    assert any("data.tsv" in warning for warning in reading.warnings)


def test_two_copies_of_a_corpus_are_refused(tmp_path):
    # A widespread re-upload of RAVDESS holds every actor twice.
    stem = "03-01-04-01-01-01-01.wav"
    touch(tmp_path, f"Actor_01/{stem}", f"audio_speech_actors_01-24/Actor_01/{stem}")
    with pytest.raises(CorpusError, match=r"has the id '03-01-04-01-01-01-01' of .*keep one copy"):
        read_corpus("ravdess", tmp_path)


def test_each_wrong_place_has_its_own_cure(tmp_path):
    touch(tmp_path, "other/hello.wav", "song/03-02-04-01-01-01-01.wav", "empty/notes.txt")
    cases = [
        ("ravdess", "nowhere", "no such folder; check the path"),
        ("ravdess", "other", r"none of its 1 audio files, such as hello\.wav.*03-01-05-02-01-01-12.*folder=PATH"),
        ("ravdess", "song", "left out 1: song"),
        ("ravdess", "empty", "holds no audio file; get ravdess from https://zenodo"),
        ("ravdess", "other/hello.wav", "is a file; give the folder of ravdess"),
        ("ravdes", "other", r"no corpus 'ravdes' \(did you mean ravdess\?\); the corpora are iemocap, .*, and folder"),
    ]
    for name, place, message in cases:
        with pytest.raises(CorpusError, match=message) as caught:
            read_corpus(name, tmp_path / place)
        assert "\n" not in str(caught.value)


def test_rows_do_not_depend_on_where_the_corpus_lies(tmp_path):
    for place in ("here", "there/deeper"):
        touch(tmp_path / place, "wav/03a01Fa.wav", "wav/08b02Tc.wav")
    here, there = (read_corpus("emodb", tmp_path / place).rows for place in ("here", "there/deeper"))
    assert [{**row, "audio": None} for row in here] == [{**row, "audio": None} for row in there]


def test_corpora_arguments():
    assert parse_corpora(["ravdess=/a/b", "folder=/my data/x=1"]) == {
        "ravdess": ("ravdess", Path("/a/b")),
        "folder": ("folder", Path("/my data/x=1")),
    }
    assert list(parse_corpora(["folder=/x/train", "nemo=/n", "folder=/x/test"])) == [
        "folder:train",
        "nemo",
        "folder:test",
    ]
    assert list(parse_corpora(["folder=/x/audio", "folder=/y/audio"])) == ["folder:x/audio", "folder:y/audio"]
    assert parse_corpora(["folder=~/x"])["folder"][1] == Path.home() / "x"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["/data/ravdess"], "is not NAME=PATH; write for example"),
        (["ravdess="], "is not NAME=PATH"),
        (["=x"], "is not NAME=PATH"),
        (["atlantis=/x"], "there is no corpus 'atlantis'; the corpora are"),
        (["nemo=/x", "nemo=/x/"], "given twice"),
    ],
)
def test_corpora_arguments_that_are_wrong(arguments, message):
    with pytest.raises(CorpusError, match=message):
        parse_corpora(arguments)


@pytest.mark.skipif(not REAL, reason="MSER_CORPORA is not set")
@pytest.mark.parametrize(
    ("name", "found", "speakers"),
    [
        (
            "ravdess",
            {"neutral": 96, **dict.fromkeys(("calm", "happy", "sad", "angry", "fear", "disgust", "surprise"), 192)},
            24,
        ),
        ("nemo", {"angry": 749, "fear": 736, "happy": 749, "neutral": 809, "sad": 769, "surprise": 669}, 9),
        ("emodb", {"angry": 127, "happy": 71, "sad": 62, "neutral": 79}, 10),
    ],
)
def test_real_corpora(name, found, speakers):
    reading = read_corpus(name, Path(REAL, name))
    assert reading.found == found
    assert reading.unmatched == []
    assert len({row["speaker"] for row in reading.rows}) == speakers
    assert all(row["gender"] and row["transcript"] for row in reading.rows)
    if name == "emodb":
        (warning,) = reading.warnings
        assert "339 clips found, 535 expected" in warning
        assert "boredom, disgust, fear" in warning
        genders = Counter({row["speaker"]: row["gender"] for row in reading.rows}.values())
        assert genders == {"male": 5, "female": 5}
    else:
        assert reading.warnings == []


@pytest.mark.parametrize("name", ["folder", "ravdess", "m5ser"])
def test_a_device_in_place_of_a_corpus_is_rejected(name):
    with pytest.raises(CorpusError, match=f"/dev/null: .*{name}=PATH"):
        read_corpus(name, "/dev/null")
