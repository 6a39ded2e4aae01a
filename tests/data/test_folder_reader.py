# SPDX-License-Identifier: Apache-2.0
import unicodedata
from pathlib import Path

import pytest

from mser_llm.data.read_corpus import CorpusError, read_corpus


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_text(text, encoding=encoding)
    return path


def emotions(path: Path) -> dict[str, str]:
    return {row["id"]: row["emotion"] for row in read_corpus("folder", path).rows}


def test_class_named_folders(tmp_path):
    touch(tmp_path, "Angry/1.wav", "anger/1.wav", "joy/a/2.ogg", "bliss/3.flac", "stray.wav", "notes.txt")
    reading = read_corpus("folder", tmp_path)
    # The folder's own words are kept; the table's synonyms become canonical words.
    assert {row["id"]: row["emotion"] for row in reading.rows} == {
        "Angry/1.wav": "angry",
        "anger/1.wav": "angry",
        "bliss/3.flac": "bliss",
        "joy/a/2.ogg": "happy",
    }
    assert reading.found == {"angry": 2, "bliss": 1, "happy": 1}
    assert [path.name for path in reading.unmatched] == ["stray.wav"]
    assert "1 audio files lie in no folder named after an emotion" in reading.warnings[0]
    assert {(row["speaker"], row["language"], row["corpus"]) for row in reading.rows} == {(None, None, "folder")}


def test_recordings_that_soundfile_does_not_open_are_told_with_the_cure(tmp_path):
    touch(tmp_path, "sad/1.m4a", "happy/2.mp4")
    with pytest.raises(CorpusError, match=r"only as \.m4a and \.mp4, such as happy/2\.mp4.*-name '\*\.m4a' -o -name"):
        read_corpus("folder", tmp_path)
    touch(tmp_path, "sad/1.wav", "sad/3.wav")
    reading = read_corpus("folder", tmp_path)
    assert [row["id"] for row in reading.rows] == ["sad/1.wav", "sad/3.wav"]
    assert reading.unmatched == [tmp_path / "happy" / "2.mp4"]
    assert "1 recordings are there only as .mp4" in reading.warnings[0]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["train/sad/1.wav", "test/happy/1.wav"], ["happy", "sad"]),
        (["anna/sad/1.wav", "bob/happy/1.wav", "bob/tired/2.wav"], ["happy", "sad", "tired"]),
        (["sad/anna/1.wav", "happy/bob/1.wav"], ["happy", "sad"]),
        (["tired/x/1.wav", "awake/2.wav"], ["awake", "tired"]),
    ],
)
def test_the_level_of_the_class_folders_is_found(tmp_path, files, expected):
    touch(tmp_path, *files)
    assert sorted(emotions(tmp_path).values()) == expected


def test_table_with_every_column(tmp_path):
    touch(tmp_path, "clips/a.wav", "clips/b.wav", "clips/c.wav")
    elsewhere = tmp_path / "clips" / "c.wav"
    table = write(
        tmp_path / "clips.csv",
        "Path, Emotion ,speaker,language,gender,transcript,split,note\n"
        'clips/a.wav,anger,anna,DE,f,"Guten Tag, sagt sie",train,x\n'
        "\n"
        "clips/gone.wav,happy,anna,de,F,,train,\n"
        "clips/b.wav,,,,,,,\n"
        f"{elsewhere},wistful,bob,fa,Male,سلام,test,\n",
        encoding="utf-8-sig",
    )
    reading = read_corpus("folder", table)
    first, second, third = reading.rows
    assert first == {
        "id": "clips/a.wav",
        "audio": {"bytes": None, "path": str(tmp_path / "clips" / "a.wav")},
        "emotion": "angry",
        "language": "de",
        "corpus": "folder",
        "speaker": "folder-anna",
        "gender": "female",
        "transcript": "Guten Tag, sagt sie",
        "duration": None,
        "split": "train",
    }
    assert {key for key, value in second.items() if value is not None} == {"id", "audio", "corpus"}
    assert (third["emotion"], third["gender"], third["transcript"]) == ("wistful", "male", "سلام")
    assert reading.missing == [tmp_path / "clips" / "gone.wav"]
    unused, gone = reading.warnings
    assert "column note is not used" in unused
    assert gone == "1 of 4 listed files are not there and were not read"
    assert "gone.wav" in str(reading)
    assert "(no emotion)" in str(reading)
    # A folder that holds one such table is read by it.
    assert read_corpus("folder", tmp_path).rows == reading.rows


@pytest.mark.parametrize(
    ("name", "text"),
    [("t.tsv", "path\temotion\na, b.wav\tsad\n"), ("t.csv", "emotion;path\nsad;a, b.wav\n")],
)
def test_delimiters(tmp_path, name, text):
    touch(tmp_path, "a, b.wav")
    assert emotions(write(tmp_path / name, text)) == {"a, b.wav": "sad"}


def test_a_table_from_another_system_finds_its_files(tmp_path):
    composed, split = (unicodedata.normalize(form, "übung") for form in ("NFC", "NFD"))
    touch(tmp_path, "lena/a.wav", f"{split}/b.wav", f"{composed}/c.wav")
    lines = ["path;emotion", "lena\\a.wav;sad", f"{composed}\\b.wav;sad", f"{split}/c.wav;sad", f"{'x' * 300}.wav;sad"]
    reading = read_corpus("folder", write(tmp_path / "t.csv", "\r\n".join(lines)))
    # The names are those of the table, whose separators are not a matter of where it is read.
    assert [row["id"] for row in reading.rows] == ["lena/a.wav", f"{composed}/b.wav", f"{split}/c.wav"]
    assert all(Path(row["audio"]["path"]).is_file() for row in reading.rows)
    assert [path.name for path in reading.missing] == [f"{'x' * 300}.wav"]


def test_another_table_beside_class_folders_is_no_matter(tmp_path):
    touch(tmp_path, "sad/1.wav")
    write(tmp_path / "scores.csv", "clip,score\n1,2\n")
    (tmp_path / "latin.csv").write_bytes(b"caf\xe9,x\n")
    (tmp_path / "empty.csv").touch()
    reading = read_corpus("folder", tmp_path)
    assert [row["id"] for row in reading.rows] == ["sad/1.wav"]
    # Whatever it says of the clips, such as their speakers, is not used, and this is reported.
    assert [name in warning for name, warning in zip(("empty.csv", "latin.csv", "scores.csv"), reading.warnings)]


def test_an_unknown_gender_is_null_and_said(tmp_path):
    touch(tmp_path, "a.wav")
    reading = read_corpus("folder", write(tmp_path / "t.csv", "path,emotion,gender\na.wav,sad,robot\n"))
    assert reading.rows[0]["gender"] is None
    assert "gender robot read as null" in reading.warnings[0]


def test_a_speaker_whose_name_is_written_in_two_ways_is_told(tmp_path):
    touch(tmp_path, *(f"{name}.wav" for name in "abcd"))
    speakers = ("Lena", "lena", "Omar", "LENA")
    lines = [f"{clip}.wav,sad,{speaker}\n" for clip, speaker in zip("abcd", speakers)]
    reading = read_corpus("folder", write(tmp_path / "t.csv", "path,emotion,speaker\n" + "".join(lines)))
    assert len({row["speaker"] for row in reading.rows}) == 4
    (warning,) = reading.warnings
    assert warning.startswith("Lena and lena and LENA count as different speakers; write one name")


def test_each_wrong_table_has_its_own_cure(tmp_path):
    touch(tmp_path, "a.wav", "sad.wav")
    cases = [
        ("path,mood\na.wav,sad\n", "has no column emotion, only path, mood"),
        ("path,label,class\na.wav,sad,happy\n", "label and class can both be the column emotion"),
        ("path,spk,actor,emotion\na.wav,1,2,sad\n", "spk and actor can both be the column speaker"),
        ("", "has no column path and no column emotion, only an empty header"),
        ("path,emotion\n", "lists no clip"),
        ("path,emotion\nx.wav,sad\ny.wav,sad\n", r"none of the 2 files .* such as .*x\.wav; paths are relative to"),
        ("path,emotion\na.wav,sad\n,sad\n", "line 3 has no path"),
        ("path,emotion\na.wav,sad\na.wav,sad\n", r"t\.csv: line 3 lists a\.wav of line 2 again; remove one"),
        (f"path,emotion\na.wav,sad\n\n{tmp_path / 'a.wav'},happy\n", r"line 4 lists .*a\.wav of line 2 again"),
    ]
    for text, message in cases:
        with pytest.raises(CorpusError, match=message):
            read_corpus("folder", write(tmp_path / "t.csv", text))
    (tmp_path / "t.csv").write_bytes("path,emotion\na.wav,fröhlich\n".encode("latin-1"))
    with pytest.raises(CorpusError, match="is not UTF-8 text"):
        read_corpus("folder", tmp_path / "t.csv")
    with pytest.raises(CorpusError, match=r"neither a folder nor a \.csv"):
        read_corpus("folder", tmp_path / "a.wav")
    write(tmp_path / "t.csv", "path,emotion\na.wav,sad\n")
    write(tmp_path / "u.csv", "path,emotion\na.wav,sad\n")
    with pytest.raises(CorpusError, match=r"several tables \(t\.csv, u\.csv\)"):
        read_corpus("folder", tmp_path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            "path,emotion\naudio/a.wav,fröhlich\n".encode("latin-1"),
            "t.csv: is not UTF-8 text.*save it as CSV in UTF-8",
        ),
        (b"number,mood\n1,sad\n", "t.csv: has no column path and no column emotion, only number, mood"),
        (b'path,emotion,transcript\naudio/a.wav,sad,"Hi\naudio/b.wav,sad,Ho\n', "t.csv: line 3 cannot be read.*close"),
        (b"path,transcript,emotion\naudio/a.wav,Hi,you,sad\n", "line 2 has 4 cells and the header 3"),
    ],
)
def test_a_table_that_cannot_be_read_is_not_passed_over(tmp_path, content, told):
    touch(tmp_path, "audio/a.wav", "audio/b.wav")
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(CorpusError, match=told):
        read_corpus("folder", tmp_path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("path;emotion;speaker\r\nsad/a.wav;sad;Jürgen\r\n".encode("latin-1"), "is not UTF-8 text"),
        ("path\temotion\nsad/a.wav\tsad\n".encode("utf-16")[:-1], "is not UTF-16"),
        (b'"path","emotion"\nsad/a.wav,"sad\n', "cannot be read"),
        (b"path,emotion,Emotion\nsad/a.wav,sad,happy\n", "has the column emotion more than once"),
    ],
)
def test_a_table_of_the_clips_is_not_passed_over_for_folders_with_the_names_of_emotions(tmp_path, content, told):
    # Its speakers, and its own emotions, would be lost without a word.
    touch(tmp_path, "sad/a.wav", "happy/b.wav")
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(CorpusError, match=rf"t\.csv: .*{told}"):
        read_corpus("folder", tmp_path)


def test_a_users_own_classes_are_read_beside_a_table_of_something_else(tmp_path):
    touch(tmp_path, "müde/a.wav", "wach/b.wav")
    write(tmp_path / "notes.csv", "day,weather\na,b\n")
    reading = read_corpus("folder", tmp_path)
    assert [row["emotion"] for row in reading.rows] == ["müde", "wach"]
    assert "notes.csv: has no column path" in reading.warnings[0]


@pytest.mark.parametrize(
    "header",
    [
        "file_name,label,speaker_id,lang,sex,text,subset",  # the names of Hugging Face's metadata.csv, and others
        "Filename;Emotion Label;Spk;Locale;Gender;Transcription;Partition",
        "audio_filepath\tclass\tclient_id\tlanguageCode\tsex\tsentence\tsplit",
    ],
)
def test_table_accepts_column_aliases(tmp_path, header):
    touch(tmp_path, "a.wav", "b.wav")
    delimiter = next(mark for mark in ",;\t" if mark in header)
    lines = [header, *(delimiter.join((clip, "anger", "lena", "de", "f", "Na", "dev")) for clip in ("a.wav", "b.wav"))]
    write(tmp_path / "metadata.csv", "\n".join(lines))
    reading = read_corpus("folder", tmp_path)
    values = ("angry", "folder-lena", "de", "female", "Na", "dev")
    columns = ("emotion", "speaker", "language", "gender", "transcript", "split")
    assert [(row["id"], *(row[column] for column in columns)) for row in reading.rows] == [
        ("a.wav", *values),
        ("b.wav", *values),
    ]
    assert reading.warnings == []


def test_table_reports_every_unused_column(tmp_path):
    touch(tmp_path, "a.wav")
    # A column with the name itself wins over an alias; the first column is a data frame's index.
    text = ",path,emotion,label,speeker,room\n0,a.wav,sad,3,lena,7\n"
    (warning,) = read_corpus("folder", write(tmp_path / "t.csv", text)).warnings
    for name in ("number 1", "label", "speeker (did you mean speaker?)", "room"):
        assert name in warning
    assert read_corpus("folder", tmp_path).rows[0]["emotion"] == "sad"


def test_table_reports_numbers_as_emotions(tmp_path):
    touch(tmp_path, "a.wav", "b.wav")
    reading = read_corpus("folder", write(tmp_path / "t.csv", "file_name,label\na.wav,0\nb.wav,3\n"))
    assert "emotions 0, 3 are numbers" in reading.warnings[0]


def test_misspelt_emotions_are_reported_with_the_near_word(tmp_path):
    touch(tmp_path, "hapy/1.wav", "sad/2.wav", "müde/3.wav")
    (warning,) = read_corpus("folder", tmp_path).warnings
    assert "hapy (did you mean happy?)" in warning
    assert "müde" not in warning


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8", "utf-8-sig", "utf-32"])
def test_table_is_read_in_any_unicode_encoding(tmp_path, encoding):
    touch(tmp_path, "ü.wav")
    # As spreadsheets save it, with their ends of lines, and a line break in a cell.
    text = 'path\temotion\ttranscript\r\nü.wav\tfröhlich\t"Güten\r\nTag"\r\n'
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    (row,) = read_corpus("folder", tmp_path).rows
    assert (row["id"], row["emotion"], row["transcript"]) == ("ü.wav", "fröhlich", "Güten\nTag")


def test_excels_line_of_the_separator_is_read(tmp_path):
    touch(tmp_path, "a.wav")
    reading = read_corpus("folder", write(tmp_path / "t.csv", "sep=;\npath;emotion\na.wav;sad\n"))
    assert [row["emotion"] for row in reading.rows] == ["sad"]


def test_a_folder_without_classes_or_audio(tmp_path):
    with pytest.raises(CorpusError, match="holds no audio file; put the recordings into folders"):
        read_corpus("folder", tmp_path)
    touch(tmp_path, "a.wav")
    with pytest.raises(CorpusError, match="none of its 1 audio files lies in a folder named after an emotion"):
        read_corpus("folder", tmp_path)


def test_a_language_is_its_code_whatever_the_region_and_a_name_is_told(tmp_path):
    written = ["en", "EN", "en-US", "en_GB", "zh-Hant-TW", "zh-HK", "English", "Tok Pisin", ""]
    names = [f"{number}.wav" for number in range(len(written))]
    touch(tmp_path, *names)
    lines = "".join(f"{name},sad,{language}\n" for name, language in zip(names, written))
    reading = read_corpus("folder", write(tmp_path / "clips.csv", f"path,emotion,language\n{lines}"))
    languages = [row["language"] for row in reading.rows]
    assert languages == ["en", "en", "en", "en", "zh", "zh-HK", "english", "tok pisin", None]
    (warning,) = reading.warnings
    assert "language English, Tok Pisin (2 clips) is no code" in warning and "(en for English)" in warning
