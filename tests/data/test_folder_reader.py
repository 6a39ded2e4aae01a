# SPDX-License-Identifier: Apache-2.0
import unicodedata
from pathlib import Path

import pytest
from corpus_trees import touch

from mser_llm.data.read_corpus import CorpusError, read_corpus


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read_error(path: Path) -> CorpusError:
    with pytest.raises(CorpusError) as caught:
        read_corpus("folder", path)
    assert caught.value.fix
    return caught.value


def test_class_folders_give_emotions(tmp_path):
    touch(tmp_path, "Angry/1.wav", "anger/1.wav", "joy/a/2.ogg", "bliss/3.flac", "stray.wav", "notes.txt")
    corpus = read_corpus("folder", tmp_path)
    # Synonyms become canonical words; other names are kept.
    assert {row["id"]: row["emotion"] for row in corpus.rows} == {
        "Angry/1.wav": "angry",
        "anger/1.wav": "angry",
        "bliss/3.flac": "bliss",
        "joy/a/2.ogg": "happy",
    }
    assert corpus.found == {"angry": 2, "bliss": 1, "happy": 1}
    assert [path.name for path in corpus.unmatched] == ["stray.wav"]
    assert len(corpus.warnings) == 1
    assert {(row["speaker"], row["language"], row["corpus"]) for row in corpus.rows} == {(None, None, "folder")}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["train/sad/1.wav", "test/happy/1.wav"], ["happy", "sad"]),
        (["anna/sad/1.wav", "bob/happy/1.wav", "bob/tired/2.wav"], ["happy", "sad", "tired"]),
        (["sad/anna/1.wav", "happy/bob/1.wav"], ["happy", "sad"]),
        (["tired/x/1.wav", "awake/2.wav"], ["awake", "tired"]),
    ],
)
def test_level_of_class_folders_is_found(tmp_path, files, expected):
    touch(tmp_path, *files)
    assert sorted(row["emotion"] for row in read_corpus("folder", tmp_path).rows) == expected


def test_folder_without_classes_or_audio_is_rejected(tmp_path):
    assert read_error(tmp_path).source == str(tmp_path)
    touch(tmp_path, "a.wav")
    assert read_error(tmp_path).source == str(tmp_path)
    assert read_error(tmp_path / "a.wav").source == str(tmp_path / "a.wav")


def test_unsupported_formats_are_reported(tmp_path):
    touch(tmp_path, "sad/1.m4a", "happy/2.mp4")
    error = read_error(tmp_path)
    assert ".m4a and .mp4" in error.problem and r"-name '*.m4a' -o -name '*.mp4'" in error.fix
    touch(tmp_path, "sad/1.wav", "sad/3.wav")
    corpus = read_corpus("folder", tmp_path)
    assert [row["id"] for row in corpus.rows] == ["sad/1.wav", "sad/3.wav"]
    assert corpus.unmatched == [tmp_path / "happy" / "2.mp4"]
    assert ".mp4" in corpus.warnings[0]


def test_misspelled_emotions_are_reported_with_the_near_word(tmp_path):
    touch(tmp_path, "hapy/1.wav", "sad/2.wav", "müde/3.wav")
    (warning,) = read_corpus("folder", tmp_path).warnings
    assert "hapy (did you mean happy?)" in warning
    assert "müde" not in warning


def test_table_with_every_column(tmp_path):
    touch(tmp_path, "clips/a.wav", "clips/b.wav", "clips/c.wav")
    table = write(
        tmp_path / "clips.csv",
        "\N{BYTE ORDER MARK}Path, Emotion ,speaker,language,gender,transcript,split,note\n"
        'clips/a.wav,anger,anna,DE,f,"Guten Tag, sagt sie",train,x\n'
        "\n"
        "clips/gone.wav,happy,anna,de,F,,train,\n"
        "clips/b.wav,,,,,,,\n"
        f"{tmp_path / 'clips' / 'c.wav'},wistful,bob,fa,Male,سلام,test,\n",
    )
    corpus = read_corpus("folder", table)
    first, second, third = corpus.rows
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
    assert corpus.missing == [tmp_path / "clips" / "gone.wav"]
    unused, missing = corpus.warnings
    assert "note" in unused and "1 of 4" in missing
    assert "gone.wav" in str(corpus) and "(no emotion)" in str(corpus)
    # A folder with one such table is read by it.
    assert read_corpus("folder", tmp_path).rows == corpus.rows


@pytest.mark.parametrize(
    "header",
    [
        "file_name,label,speaker_id,lang,sex,text,subset",  # the names of Hugging Face's metadata.csv, and others
        "Filename;Emotion Label;Spk;Locale;Gender;Transcription;Partition",
        "audio_filepath\tclass\tclient_id\tlanguageCode\tsex\tsentence\tsplit",
    ],
)
def test_table_accepts_column_aliases_and_delimiters(tmp_path, header):
    touch(tmp_path, "a.wav", "b.wav")
    delimiter = next(mark for mark in ",;\t" if mark in header)
    lines = [header, *(delimiter.join((clip, "anger", "lena", "de", "f", "Na", "dev")) for clip in ("a.wav", "b.wav"))]
    write(tmp_path / "metadata.csv", "\n".join(lines))
    corpus = read_corpus("folder", tmp_path)
    columns = ("emotion", "speaker", "language", "gender", "transcript", "split")
    assert {tuple(row[column] for column in columns) for row in corpus.rows} == {
        ("angry", "folder-lena", "de", "female", "Na", "dev")
    }
    assert corpus.warnings == []


TABLE = 'path\temotion\ttranscript\r\nü, a.wav\tfröhlich\t"Güten\r\nTag"\r\n'


@pytest.mark.parametrize(
    ("name", "content"),
    [
        # As spreadsheets save it, with a line break in a cell.
        *(
            ("t.csv", TABLE.encode(code))
            for code in ("utf-16", "utf-16-le", "utf-16-be", "utf-8", "utf-8-sig", "utf-32")
        ),
        ("t.tsv", TABLE.encode()),
        ("t.csv", "sep=;\npath;emotion;transcript\nü, a.wav;fröhlich;'Güten\nTag'".replace("'", '"').encode()),
    ],
)
def test_table_is_read_in_any_encoding_and_with_any_delimiter(tmp_path, name, content):
    touch(tmp_path, "ü, a.wav")
    (row,) = read_corpus("folder", write(tmp_path / name, content)).rows
    assert (row["id"], row["emotion"], row["transcript"]) == ("ü, a.wav", "fröhlich", "Güten\nTag")


def test_table_from_another_system_finds_its_files(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "übung") for form in ("NFC", "NFD"))
    touch(tmp_path, "lena/a.wav", f"{decomposed}/b.wav", f"{composed}/c.wav")
    names = ["lena\\a.wav", f"{composed}\\b.wav", f"{decomposed}/c.wav", f"{'x' * 300}.wav"]
    table = write(tmp_path / "t.csv", "\r\n".join(["path;emotion", *(f"{name};sad" for name in names)]))
    corpus = read_corpus("folder", table)
    # Ids are the names in the table, with the same separator on every system.
    assert [row["id"] for row in corpus.rows] == [name.replace("\\", "/") for name in names[:3]]
    assert all(Path(row["audio"]["path"]).is_file() for row in corpus.rows)
    assert [path.name for path in corpus.missing] == names[3:]


@pytest.mark.parametrize(
    ("table", "parts"),
    [
        ("path,emotion,gender\na.wav,sad,robot\n", ["robot", "1 clips"]),
        ("file_name,label\na.wav,0\nb.wav,3\n", ["0, 3"]),
        ("path,emotion,speaker\na.wav,sad,Lena\nb.wav,sad,lena\nc.wav,sad,Omar\n", ["Lena and lena"]),
        # The first column is the index of a data frame; `emotion` takes precedence over its alias `label`.
        (
            ",path,emotion,label,speeker,room\n0,a.wav,sad,3,lena,7\n",
            ["number 1", "label", "speeker (did you mean speaker?)", "room"],
        ),
    ],
)
def test_table_warnings(tmp_path, table, parts):
    touch(tmp_path, "a.wav", "b.wav", "c.wav")
    corpus = read_corpus("folder", write(tmp_path / "t.csv", table))
    (warning,) = corpus.warnings
    assert all(part in warning for part in parts)
    assert {row["gender"] for row in corpus.rows} == {None}
    assert corpus.rows[0]["emotion"] in ("sad", "0")


def test_languages_are_reduced_to_their_code(tmp_path):
    written = ["en", "EN", "en-US", "en_GB", "zh-Hant-TW", "zh-HK", "English", "Tok Pisin", ""]
    names = [f"{number}.wav" for number in range(len(written))]
    touch(tmp_path, *names)
    lines = "".join(f"{name},sad,{language}\n" for name, language in zip(names, written))
    corpus = read_corpus("folder", write(tmp_path / "clips.csv", f"path,emotion,language\n{lines}"))
    languages = [row["language"] for row in corpus.rows]
    assert languages == ["en", "en", "en", "en", "zh", "zh-HK", "english", "tok pisin", None]
    (warning,) = corpus.warnings
    assert "English, Tok Pisin (2 clips)" in warning and "en for English" in warning


@pytest.mark.parametrize(
    ("table", "parts"),
    [
        ("path,mood\na.wav,sad\n", ["emotion", "path, mood"]),
        ("path,label,class\na.wav,sad,happy\n", ["label and class", "emotion"]),
        ("path,spk,actor,emotion\na.wav,1,2,sad\n", ["spk and actor", "speaker"]),
        ("path,emotion,Emotion\na.wav,sad,happy\n", ["emotion"]),
        ("", ["path", "emotion"]),
        ("path,emotion\n", []),
        ("path,emotion\nx.wav,sad\ny.wav,sad\n", ["2", "x.wav"]),
        ("path,emotion\na.wav,sad\n,sad\n", ["line 3"]),
        ("path,emotion\na.wav,sad\na.wav,sad\n", ["lines 2 and 3", "a.wav"]),
        ("path,emotion\na.wav,sad\n\n{folder}/a.wav,happy\n", ["lines 2 and 4", "a.wav"]),
        ("path,transcript,emotion\na.wav,Hi,you,sad\n", ["line 2", "4", "3"]),
        ('path,emotion,transcript\na.wav,sad,"Hi\nb.wav,sad,Ho\n', ["line 3"]),
        ("path,emotion\na.wav,fröhlich\n".encode("latin-1"), ["UTF-8"]),
        ("path\temotion\na.wav\tsad\n".encode("utf-16")[:-1], ["UTF-16"]),
    ],
)
def test_wrong_table_raises_with_its_line(tmp_path, table, parts):
    touch(tmp_path, "a.wav", "b.wav")
    content = table if isinstance(table, bytes) else table.replace("{folder}", str(tmp_path))
    error = read_error(write(tmp_path / "t.csv", content))
    assert error.source == str(tmp_path / "t.csv")
    assert all(part in error.problem for part in parts)


def test_several_tables_are_rejected(tmp_path):
    touch(tmp_path, "a.wav")
    for name in ("t.csv", "u.csv"):
        write(tmp_path / name, "path,emotion\na.wav,sad\n")
    assert "t.csv, u.csv" in read_error(tmp_path).problem


@pytest.mark.parametrize(
    ("folders", "content"),
    [
        (("audio", "audio"), "path,emotion\naudio/a.wav,fröhlich\n".encode("latin-1")),
        (("audio", "audio"), b"number,mood\n1,sad\n"),
        (("audio", "audio"), b'path,emotion,transcript\naudio/a.wav,sad,"Hi\naudio/b.wav,sad,Ho\n'),
        (("audio", "audio"), b"path,transcript,emotion\naudio/a.wav,Hi,you,sad\n"),
        (("sad", "happy"), "path;emotion;speaker\r\nsad/a.wav;sad;Jürgen\r\n".encode("latin-1")),
        (("sad", "happy"), "path\temotion\nsad/a.wav\tsad\n".encode("utf-16")[:-1]),
        (("sad", "happy"), b'"path","emotion"\nsad/a.wav,"sad\n'),
        (("sad", "happy"), b"path,emotion,Emotion\nsad/a.wav,sad,happy\n"),
    ],
)
def test_damaged_table_is_not_ignored_for_folders(tmp_path, folders, content):
    # Otherwise its speakers and emotions would be lost without a warning.
    touch(tmp_path, f"{folders[0]}/a.wav", f"{folders[1]}/b.wav")
    write(tmp_path / "t.csv", content)
    assert read_error(tmp_path).source == str(tmp_path / "t.csv")


@pytest.mark.parametrize("folders", [("müde", "wach"), ("sad", "happy")])
def test_other_tables_next_to_class_folders_are_reported(tmp_path, folders):
    touch(tmp_path, *(f"{folder}/1.wav" for folder in folders))
    tables = {"empty.csv": b"", "latin.csv": b"caf\xe9,x\n", "scores.csv": b"clip,score\n1,2\n"}
    for name, content in tables.items():
        write(tmp_path / name, content)
    corpus = read_corpus("folder", tmp_path)
    assert sorted(row["emotion"] for row in corpus.rows) == sorted(folders)
    assert all(name in warning for name, warning in zip(tables, corpus.warnings, strict=True))
