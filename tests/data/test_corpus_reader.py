# SPDX-License-Identifier: Apache-2.0
"""Read incomplete, damaged or unusual copies of corpora."""

import io
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from corpus_trees import MELD_FOLDERS, TREES, meld, resd_parquet, touch, write

from mser_llm.data.read_corpus import CorpusError, parse_corpora, read_corpus
from processing_mser.audio_mser import load_audio


def read_error(name, path):
    with pytest.raises(CorpusError) as caught:
        read_corpus(name, path)
    assert "\n" not in str(caught.value) and caught.value.fix
    return caught.value


def test_files_left_out_are_counted_with_their_reason(tmp_path):
    pytest.importorskip("h5py")
    for name, counts in {"iemocap": [1, 5], "meld": [1], "msp-podcast": [1, 2], "cmu-mosei": [1, 1, 3]}.items():
        TREES[name](tmp_path / name)
        corpus = read_corpus(name, tmp_path / name)
        assert sorted(corpus.skipped.values()) == counts
        assert all(f"{count}: {reason}" in str(corpus) for reason, count in corpus.skipped.items())


def test_ravdess_leaves_out_songs_and_videos_and_lists_other_files(tmp_path):
    touch(
        tmp_path,
        "Actor_01/03-01-04-01-01-01-01.wav",
        "Actor_01/03-02-04-01-01-01-01.wav",  # song
        "Actor_01/01-01-04-01-01-01-01.wav",  # video with sound
        "Actor_01/02-01-04-01-01-01-01.wav",  # video without sound
        "Actor_01/02-02-04-01-01-01-01.wav",  # video without sound, song
        "Actor_01/._03-01-04-01-01-01-01.wav",  # a file of macOS
        "Actor_01/03-01-09-01-01-01-01.wav",  # no such emotion
        "Actor_01/03-01-04-01-01-01-25.wav",  # no such actor
        "Actor_01/x03-01-04-01-01-01-01.wav",
        "README.txt",
    )
    corpus = read_corpus("ravdess", tmp_path)
    assert [row["id"] for row in corpus.rows] == ["03-01-04-01-01-01-01"]
    assert sorted(corpus.skipped.values()) == [1, 1, 2]
    assert [path.name for path in corpus.unmatched] == [
        "03-01-04-01-01-01-25.wav",
        "03-01-09-01-01-01-01.wav",
        "x03-01-04-01-01-01-01.wav",
    ]
    assert "x03-01-04-01-01-01-01.wav" in str(corpus)


def test_any_audio_extension_is_read(tmp_path):
    touch(tmp_path, "a/03a01Fa.wav", "a/03a01Nc.OGG", "b/16b10Lb.flac", "11b03E.aiff")
    corpus = read_corpus("emodb", tmp_path)
    assert corpus.found == {"happy": 1, "neutral": 1, "boredom": 1, "disgust": 1}
    (warning,) = corpus.warnings
    assert "535" in warning and "happy 1 of 71" in warning and warning.endswith("angry, fear, sad")


def test_uncompressed_format_is_preferred_and_copies_and_broken_links_are_not_read(tmp_path):
    files = ["a/03a01Fa.mp3", "b/03a01Fa.wav", "c/03a01Fa.ogg", "b/03a01Wa.ogg", "b/03a01Na.m4a", "b/03a01Na.ogg"]
    touch(tmp_path, *files)
    (tmp_path / "b" / "03a02Wa.wav").symlink_to(tmp_path / "annex" / "nothing")
    corpus = read_corpus("emodb", tmp_path)
    assert [str(Path(row["audio"]["path"]).relative_to(tmp_path)) for row in corpus.rows] == [
        "b/03a01Fa.wav",
        "b/03a01Na.ogg",
        "b/03a01Wa.ogg",
    ]
    assert list(corpus.skipped.values()) == [2]
    assert corpus.unmatched == [tmp_path / "b" / "03a02Wa.wav"]
    touch(tmp_path, "d/03a01Fa.wav")
    error = read_error("emodb", tmp_path)
    assert error.source == str(tmp_path / "d/03a01Fa.wav")
    assert "'03a01Fa'" in error.problem and str(tmp_path / "b/03a01Fa.wav") in error.problem


@pytest.mark.parametrize(
    ("name", "place", "part"),
    [
        ("ravdess", "nowhere", "ravdess=PATH"),
        ("ravdess", "other", "folder=PATH"),
        ("ravdess", "song", "song"),
        ("ravdess", "empty", "zenodo"),
        ("ravdess", "other/hello.wav", "ravdess=PATH"),
        ("m5ser", "/dev/null", "m5ser=PATH"),
        ("folder", "/dev/null", "folder=PATH"),
        ("ravdes", "other", "did you mean ravdess?"),
    ],
)
def test_wrong_place_raises_with_a_fix(name, place, part, tmp_path):
    touch(tmp_path, "other/hello.wav", "song/03-02-04-01-01-01-01.wav", "empty/notes.txt")
    error = read_error(name, tmp_path / place)
    assert error.source == ("corpus 'ravdes'" if name == "ravdes" else str(tmp_path / place))
    assert part in str(error)


def test_parse_corpora_gives_distinct_keys():
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
    for written in ("CREMA-D", "crema_d", "cremad", "Crema D"):
        assert list(parse_corpora([f"{written}=/x"])) == ["crema-d"]


@pytest.mark.parametrize(
    ("arguments", "source"),
    [
        (["/data/ravdess"], "'/data/ravdess'"),
        (["ravdess="], "'ravdess='"),
        (["=x"], "'=x'"),
        (["atlantis=/x"], "corpus 'atlantis'"),
        (["nemo=/x", "nemo=/x/"], "'nemo=/x/'"),
    ],
)
def test_parse_corpora_rejects_wrong_arguments(arguments, source):
    with pytest.raises(CorpusError) as caught:
        parse_corpora(arguments)
    assert caught.value.source == source


def test_missing_required_table_is_an_error_and_missing_clips_are_listed(tmp_path):
    TREES["iemocap"](tmp_path)
    touch(tmp_path, "Session1/sentences/wav/Ses01F_impro09/Ses01F_impro09_F000.wav")
    (tmp_path / "Session5/sentences/wav/Ses05M_impro05a/Ses05M_impro05a_M001.wav").unlink()
    corpus = read_corpus("iemocap", tmp_path)
    assert [path.name for path in corpus.unmatched] == ["Ses01F_impro09_F000.wav"]
    assert [str(path) for path in corpus.missing] == ["Ses05M_impro05a_M001"]
    assert sum("Session*/dialog/EmoEvaluation/*.txt" in warning for warning in corpus.warnings) == 2
    for folder in tmp_path.glob("Session*/dialog/EmoEvaluation"):
        shutil.rmtree(folder)
    error = read_error("iemocap", tmp_path)
    assert error.source == str(tmp_path) and "Session*/dialog/EmoEvaluation/*.txt" in error.problem


def test_missing_optional_table_gives_null_columns(tmp_path):
    TREES["nemo"](tmp_path)
    (tmp_path / "data.tsv").unlink()
    corpus = read_corpus("nemo", tmp_path)
    assert {(row["gender"], row["transcript"]) for row in corpus.rows} == {(None, None)}
    assert any("data.tsv" in warning for warning in corpus.warnings)


def test_tables_of_another_release_are_rejected(tmp_path):
    TREES["meld"](tmp_path)
    for split in MELD_FOLDERS:
        write(tmp_path, f"{split}_sent_emo.csv", "Utterance,Speaker,Emotion,Dialogue_ID,Utterance_ID", "a,b,joy,77,7")
    error = read_error("meld", tmp_path)
    assert "train_sent_emo.csv" in error.problem and "dia0_utt0.wav" in error.problem
    for split in MELD_FOLDERS:
        write(tmp_path, f"{split}_sent_emo.csv", "other,columns", "1,2")
    assert "train_sent_emo.csv" in read_error("meld", tmp_path).problem


def test_invalid_utf8_byte_replaces_one_character(tmp_path):
    TREES["meld"](tmp_path)
    table = tmp_path / "dev_sent_emo.csv"
    table.write_bytes(table.read_bytes().replace(b"Oh my God!", b"Oh my \x92God!"))
    rows = {row["id"]: row for row in read_corpus("meld", tmp_path).rows}
    assert rows["dev/dia0_utt0"]["emotion"] == "sad"
    assert rows["dev/dia0_utt0"]["transcript"] == "Oh my \ufffdGod!"


def test_fix_for_unsupported_formats_is_a_working_command(tmp_path):
    folder = tmp_path / "it's MELD"
    meld(folder, ".mp4")
    error = read_error("meld", folder)
    assert ".mp4" in error.problem
    # A script named ffmpeg copies the file.
    write(tmp_path, "bin/ffmpeg", "#!/bin/sh", 'for last in "$@"; do :; done', 'cp "$3" "$last"').chmod(0o755)
    command = error.fix.split(": ", 1)[1]
    subprocess.run(["sh", "-c", f'PATH="{tmp_path / "bin"}:$PATH"; {command}'], check=True)
    corpus = read_corpus("meld", folder)
    assert len(corpus.rows) == 5
    assert not any(".mp4" in warning for warning in corpus.warnings)

    clip = folder / MELD_FOLDERS["train"] / "dia0_utt1.wav"
    clip.unlink()
    corpus = read_corpus("meld", folder)
    assert len(corpus.rows) == 4
    assert [path.name for path in corpus.unmatched] == ["dia0_utt1.mp4"]
    assert any(".mp4" in warning for warning in corpus.warnings)
    assert corpus.missing == []


def test_meld_clips_broken_as_published_are_not_missing(tmp_path):
    meld(tmp_path)
    assert read_corpus("meld", tmp_path).missing == []
    touch(tmp_path, "train_splits/dia125_utt3.wav")
    corpus = read_corpus("meld", tmp_path)
    assert len(corpus.rows) == 5
    assert sum(corpus.skipped.values()) == 2


def test_mead_has_to_be_converted(tmp_path):
    touch(tmp_path, "M003/audio/angry/level_1/001.m4a", "W009/audio/neutral/level_1/001.m4a")
    touch(tmp_path, "M003/video/front/angry/level_1/001.mp4")
    error = read_error("mead", tmp_path)
    assert "M003/audio/angry/level_1/001.m4a" in error.problem and "*.m4a" in error.fix
    touch(tmp_path, "M003/audio/angry/level_1/001.wav", "W009/audio/neutral/level_2/001.wav")
    corpus = read_corpus("mead", tmp_path)
    assert [row["id"] for row in corpus.rows] == ["M003/audio/angry/level_1/001"]
    # Neutral has one level only.
    assert [path.name for path in corpus.unmatched] == ["001.wav", "001.m4a"]


def test_aiff_with_a_wav_name_can_be_decoded(tmp_path):
    TREES["tess"](tmp_path)
    tone = 0.1 * np.sin(np.arange(8000) / 10)
    file = io.BytesIO()
    soundfile.write(file, tone, 16_000, format="AIFF")
    path = tmp_path / "OAF_angry" / "OAF_back_angry.wav"
    path.write_bytes(file.getvalue())
    row = next(row for row in read_corpus("tess", tmp_path).rows if row["id"] == "OAF_back_angry")
    np.testing.assert_allclose(load_audio(row["audio"]), tone, atol=1e-4)


def test_msp_podcast_release_comes_from_a_folder_name(tmp_path):
    TREES["msp-podcast"](tmp_path)
    corpus = read_corpus("msp-podcast", tmp_path)
    assert (corpus.release, corpus.warnings) == ("1.11", [])
    assert "1.11" in str(corpus)
    assert read_corpus("msp-podcast", tmp_path / "MSP-PODCAST-Publish-1.11").release == "1.11"
    (tmp_path / "MSP-PODCAST-Publish-1.11").rename(tmp_path / "podcasts")
    corpus = read_corpus("msp-podcast", tmp_path / "podcasts")
    assert corpus.release is None and len(corpus.warnings) == 1
    # A hidden label, and a split that only the table of labels contains.
    labels = tmp_path / "podcasts" / "Labels" / "labels_consensus.csv"
    labels.write_text(labels.read_text() + "MSP-PODCAST_0999_0001.wav,,,,,1,Male,Train\n")
    (tmp_path / "podcasts" / "Partition.txt").unlink()
    touch(tmp_path, "podcasts/Audios/MSP-PODCAST_0999_0001.wav")
    corpus = read_corpus("msp-podcast", tmp_path / "podcasts")
    assert len(corpus.rows) == 5
    assert [path.name for path in corpus.unmatched] == ["MSP-PODCAST_0900_0001.wav", "MSP-PODCAST_0999_0001.wav"]
    labels.rename(labels.with_name("labels_concensus.csv"))  # the spelling of older releases
    assert len(read_corpus("msp-podcast", tmp_path).rows) == 5


def test_speaker_with_two_genders_has_none(tmp_path):
    TREES["ased"](tmp_path)
    assert any("ased-17" in warning for warning in read_corpus("ased", tmp_path).warnings)


def test_mosei_labels_are_checked(tmp_path):
    h5py = pytest.importorskip("h5py")
    TREES["cmu-mosei"](tmp_path)
    labels = tmp_path / "CMU_MOSEI_Labels.csd"
    labels.write_bytes(b"no HDF5")
    assert read_error("cmu-mosei", tmp_path).source == str(labels)
    with h5py.File(labels, "w") as file:
        file["other"] = np.zeros(3)
    assert read_error("cmu-mosei", tmp_path).source == str(labels)
    with h5py.File(labels, "w") as file:
        file["All Labels/data/abc/features"] = np.zeros((2, 3))
    error = read_error("cmu-mosei", tmp_path)
    assert error.source == str(labels) and "video abc" in error.problem and "(2, 3)" in error.problem
    labels.unlink()
    assert labels.name in read_error("cmu-mosei", tmp_path).problem


def test_mosei_without_h5py_names_the_extra(tmp_path, monkeypatch):
    TREES["cmu-mosei"](tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(ImportError, match=r"mser-llm\[mosei\]"):
        read_corpus("cmu-mosei", tmp_path)


def test_damaged_parquet_is_rejected(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    resd_parquet(tmp_path / "a")
    (tmp_path / "a/data/test-00000-of-00001.parquet").write_bytes(b"PAR1 cut")
    assert read_error("resd", tmp_path / "a").source == str(tmp_path / "a/data/test-00000-of-00001.parquet")
    (tmp_path / "b").mkdir()
    file = tmp_path / "b" / "train-0.parquet"
    parquet.write_table(pa.table({"name": ["1_a_b_h_1"]}), file)
    error = read_error("resd", tmp_path / "b")
    assert error.source == str(file) and "'speech'" in error.problem
    parquet.write_table(pa.table({"name": ["x"], "speech": [b""]}), file)
    assert "32_happiness" in read_error("resd", tmp_path / "b").problem
