# SPDX-License-Identifier: Apache-2.0
"""What is odd, broken or absent in a copy of a corpus costs that clip, with its reason, or stops with the cure."""

import io
import shutil
import subprocess

import numpy as np
import pytest
import soundfile
from corpus_trees import MELD_FOLDERS, TREES, meld, resd_parquet, touch, write

from mser_llm.data.read_corpus import CorpusError, read_corpus
from processing_mser.audio_mser import load_audio


def test_what_is_left_out_is_counted_with_its_reason(tmp_path):
    pytest.importorskip("h5py")
    skipped = {
        "iemocap": {"its listeners agree on no emotion (xxx)": 1, "whole dialogues": 5},
        "meld": {"final_videos_test, which repeats clips of the test": 1},
        "msp-podcast": {"test3, whose labels are hidden": 2, "its listeners agree on no emotion (X)": 1},
        "cmu-mosei": {
            "no emotion is rated above zero": 1,
            "two or more emotions are rated strongest": 1,
            "whole videos": 3,
        },
        "crema-d": {"another format of a clip that was read": 7},
    }
    for name, reasons in skipped.items():
        TREES[name](tmp_path / name)
        reading = read_corpus(name, tmp_path / name)
        assert reading.skipped == reasons
        for reason, count in reasons.items():
            assert f"left out {count}: {reason}" in str(reading)


def test_iemocap_speakers_are_ten_though_sessions_are_five(tmp_path):
    for session in range(1, 6):
        for wears in "FM":
            for speaks in "FM":
                turn = f"Ses0{session}{wears}_impro01_{speaks}000"
                touch(tmp_path, f"Session{session}/sentences/wav/{turn[:-5]}/{turn}.wav")
                line = f"[0.0 - 1.0]\t{turn}\tneu\t[2, 2, 2]"
                write(tmp_path, f"Session{session}/dialog/EmoEvaluation/{turn}.txt", line)
    rows = read_corpus("iemocap", tmp_path).rows
    assert len(rows) == 20
    assert {(row["speaker"], row["gender"]) for row in rows} == {
        (f"iemocap-Ses0{session}{letter}", gender)
        for session in range(1, 6)
        for letter, gender in (("F", "female"), ("M", "male"))
    }
    # Without transcripts there are none, and that is said.
    assert {row["transcript"] for row in rows} == {None}


def test_iemocap_without_its_labels(tmp_path):
    TREES["iemocap"](tmp_path)
    touch(tmp_path, "Session1/sentences/wav/Ses01F_impro09/Ses01F_impro09_F000.wav")
    (tmp_path / "Session5/sentences/wav/Ses05M_impro05a/Ses05M_impro05a_M001.wav").unlink()
    reading = read_corpus("iemocap", tmp_path)
    assert [path.name for path in reading.unmatched] == ["Ses01F_impro09_F000.wav"]
    assert [str(path) for path in reading.missing] == ["Ses05M_impro05a_M001"]
    assert any("1 audio files are not in Session*/dialog/EmoEvaluation/*.txt" in text for text in reading.warnings)
    assert any("1 clips that Session*/dialog/EmoEvaluation/*.txt lists are not there" in t for t in reading.warnings)
    for folder in tmp_path.glob("Session*/dialog/EmoEvaluation"):
        shutil.rmtree(folder)
    with pytest.raises(
        CorpusError, match=r"emotions of iemocap stand in Session\*.*which are not there; put them back"
    ):
        read_corpus("iemocap", tmp_path)


def test_meld_where_the_sound_was_not_taken_out(tmp_path):
    meld(tmp_path / "it's MELD", ".mp4")
    with pytest.raises(
        CorpusError, match=r"clips of meld are there only as \.mp4, such as dev_splits.*ffmpeg"
    ) as caught:
        read_corpus("meld", tmp_path / "it's MELD")
    message = str(caught.value)
    assert "\n" not in message
    # The command in the message is one that the shell takes; a stand-in for ffmpeg copies.
    write(tmp_path, "bin/ffmpeg", "#!/bin/sh", 'for last in "$@"; do :; done', 'cp "$3" "$last"').chmod(0o755)
    command = message.split("take their sound out: ")[1]
    subprocess.run(["sh", "-c", f'PATH="{tmp_path / "bin"}:$PATH"; {command}'], check=True)
    reading = read_corpus("meld", tmp_path / "it's MELD")
    assert len(reading.rows) == 5
    assert not any(".mp4" in warning for warning in reading.warnings)


def test_meld_where_the_sound_of_one_clip_was_not_taken_out(tmp_path):
    meld(tmp_path)
    clip = tmp_path / MELD_FOLDERS["train"] / "dia0_utt1.wav"
    clip.rename(clip.with_suffix(".mp4"))
    reading = read_corpus("meld", tmp_path)
    assert len(reading.rows) == 4
    assert [path.name for path in reading.unmatched] == ["dia0_utt1.mp4"]
    assert any(text.startswith("1 clips are there only as .mp4, such as train_splits/") for text in reading.warnings)
    assert reading.missing == []


def test_meld_clips_that_are_broken_as_published_are_not_missing(tmp_path):
    meld(tmp_path)
    assert read_corpus("meld", tmp_path).missing == []
    touch(tmp_path, "train_splits/dia125_utt3.wav")
    reading = read_corpus("meld", tmp_path)
    assert len(reading.rows) == 5
    assert reading.skipped["broken as published"] == 1


def test_mead_as_published_has_to_be_converted(tmp_path):
    touch(tmp_path, "M003/audio/angry/level_1/001.m4a", "W009/audio/neutral/level_1/001.m4a")
    touch(tmp_path, "M003/video/front/angry/level_1/001.mp4")
    with pytest.raises(
        CorpusError, match=r"only as \.m4a, such as M003/audio/angry/level_1/001\.m4a.*-name '\*\.m4a'"
    ):
        read_corpus("mead", tmp_path)
    touch(tmp_path, "M003/audio/angry/level_1/001.wav", "W009/audio/neutral/level_2/001.wav")
    reading = read_corpus("mead", tmp_path)
    assert [row["id"] for row in reading.rows] == ["M003/audio/angry/level_1/001"]
    # Neutral has one level only.
    assert [path.name for path in reading.unmatched] == ["001.wav", "001.m4a"]


def test_of_two_formats_the_uncompressed_one_is_read(tmp_path):
    touch(
        tmp_path, "a/03a01Fa.mp3", "b/03a01Fa.wav", "c/03a01Fa.ogg", "b/03a01Wa.ogg", "b/03a01Na.m4a", "b/03a01Na.ogg"
    )
    reading = read_corpus("emodb", tmp_path)
    assert [row["audio"]["path"][len(str(tmp_path)) :] for row in reading.rows] == [
        "/b/03a01Fa.wav",
        "/b/03a01Na.ogg",
        "/b/03a01Wa.ogg",
    ]
    assert reading.skipped == {"another format of a clip that was read": 2}
    assert reading.unmatched == []
    touch(tmp_path, "d/03a01Fa.wav")
    with pytest.raises(CorpusError, match=r"has the id '03a01Fa' of .*keep one copy"):
        read_corpus("emodb", tmp_path)


def test_aiff_with_a_wav_name(tmp_path):
    TREES["tess"](tmp_path)
    tone = 0.1 * np.sin(np.arange(8000) / 10)
    file = io.BytesIO()
    soundfile.write(file, tone, 16_000, format="AIFF")
    path = tmp_path / "OAF_angry" / "OAF_back_angry.wav"
    path.write_bytes(file.getvalue())
    row = next(row for row in read_corpus("tess", tmp_path).rows if row["id"] == "OAF_back_angry")
    np.testing.assert_allclose(load_audio(row["audio"]), tone, atol=1e-4)


def test_msp_podcast_tells_its_release_or_asks_for_it(tmp_path):
    TREES["msp-podcast"](tmp_path)
    reading = read_corpus("msp-podcast", tmp_path)
    assert reading.release == "1.11"
    assert "release 1.11" in str(reading)
    assert reading.warnings == []
    assert read_corpus("msp-podcast", tmp_path / "MSP-PODCAST-Publish-1.11").release == "1.11"
    (tmp_path / "MSP-PODCAST-Publish-1.11").rename(tmp_path / "podcasts")
    reading = read_corpus("msp-podcast", tmp_path / "podcasts")
    assert reading.release is None
    assert any("note it down" in warning for warning in reading.warnings)
    # A label that is hidden, and a split that only the table of labels tells.
    labels = tmp_path / "podcasts" / "Labels" / "labels_consensus.csv"
    labels.write_text(labels.read_text() + "MSP-PODCAST_0999_0001.wav,,,,,1,Male,Train\n")
    (tmp_path / "podcasts" / "Partition.txt").unlink()
    touch(tmp_path, "podcasts/Audios/MSP-PODCAST_0999_0001.wav")
    reading = read_corpus("msp-podcast", tmp_path / "podcasts")
    assert len(reading.rows) == 5
    assert [path.name for path in reading.unmatched] == ["MSP-PODCAST_0900_0001.wav", "MSP-PODCAST_0999_0001.wav"]
    labels.rename(labels.with_name("labels_concensus.csv"))  # so it was spelt once
    assert len(read_corpus("msp-podcast", tmp_path).rows) == 5


def test_ased_gender_of_a_speaker_with_both_is_null_and_said(tmp_path):
    TREES["ased"](tmp_path)
    assert any("1 speakers are given both genders" in warning for warning in read_corpus("ased", tmp_path).warnings)


def test_mosei_labels_that_are_not_there_damaged_or_of_another_kind(tmp_path):
    h5py = pytest.importorskip("h5py")
    TREES["cmu-mosei"](tmp_path)
    labels = tmp_path / "CMU_MOSEI_Labels.csd"
    labels.write_bytes(b"no HDF5")
    with pytest.raises(CorpusError, match=r"CMU_MOSEI_Labels\.csd: is not HDF5"):
        read_corpus("cmu-mosei", tmp_path)
    with h5py.File(labels, "w") as file:
        file["All Labels/data/abc/features"] = np.zeros((2, 3))
    with pytest.raises(CorpusError, match=r"video abc has ratings of shape \(2, 3\), not \(segments, 7\)"):
        read_corpus("cmu-mosei", tmp_path)
    labels.unlink()
    with pytest.raises(
        CorpusError, match=r"emotions of cmu-mosei stand in CMU_MOSEI_Labels\.csd, which are not there"
    ):
        read_corpus("cmu-mosei", tmp_path)


def test_mosei_without_h5py_names_the_extra(tmp_path, monkeypatch):
    TREES["cmu-mosei"](tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(ImportError, match=r"needs h5py; pip install 'mser-llm\[mosei\]'"):
        read_corpus("cmu-mosei", tmp_path)


def test_tables_of_another_release(tmp_path):
    TREES["meld"](tmp_path)
    for split in MELD_FOLDERS:
        write(tmp_path, f"{split}_sent_emo.csv", "Utterance,Speaker,Emotion,Dialogue_ID,Utterance_ID", "a,b,joy,77,7")
    with pytest.raises(CorpusError, match=r"none of its 5 clips, such as .*dia0_utt0\.wav, is in train_sent_emo\.csv"):
        read_corpus("meld", tmp_path)
    for split in MELD_FOLDERS:
        write(tmp_path, f"{split}_sent_emo.csv", "other,columns", "1,2")
    with pytest.raises(CorpusError, match="hold no record of the expected form"):
        read_corpus("meld", tmp_path)


def test_a_letter_that_is_not_utf8_spoils_one_transcript(tmp_path):
    TREES["meld"](tmp_path)
    table = tmp_path / "dev_sent_emo.csv"
    table.write_bytes(table.read_bytes().replace(b"Oh my God!", b"Oh my \x92God!"))
    rows = {row["id"]: row for row in read_corpus("meld", tmp_path).rows}
    assert rows["dev/dia0_utt0"]["emotion"] == "sad"
    assert rows["dev/dia0_utt0"]["transcript"] == "Oh my \ufffdGod!"


def test_resd_parquet_that_is_damaged_or_another(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    resd_parquet(tmp_path / "a")
    (tmp_path / "a/data/test-00000-of-00001.parquet").write_bytes(b"PAR1 cut")
    with pytest.raises(CorpusError, match=r"test-00000-of-00001\.parquet: is not Parquet, or damaged"):
        read_corpus("resd", tmp_path / "a")
    (tmp_path / "b").mkdir()
    parquet.write_table(pa.table({"name": ["1_a_b_h_1"]}), tmp_path / "b" / "train-0.parquet")
    with pytest.raises(CorpusError, match="has no column 'speech'"):
        read_corpus("resd", tmp_path / "b")
    parquet.write_table(pa.table({"name": ["x"], "speech": [b""]}), tmp_path / "b" / "train-0.parquet")
    with pytest.raises(CorpusError, match="no recording in its Parquet files is named like 32_happiness"):
        read_corpus("resd", tmp_path / "b")


def test_links_to_what_was_not_fetched_are_listed(tmp_path):
    touch(tmp_path, "wav/03a01Fa.wav")
    (tmp_path / "wav" / "03a01Wa.wav").symlink_to(tmp_path / "annex" / "nothing")
    (tmp_path / "wav" / "03a01Na.wav").symlink_to(tmp_path / "wav" / "03a01Fa.wav")
    reading = read_corpus("emodb", tmp_path)
    assert [row["id"] for row in reading.rows] == ["03a01Fa", "03a01Na"]
    assert reading.unmatched == [tmp_path / "wav" / "03a01Wa.wav"]
    assert any("1 folders or links were not followed" in warning for warning in reading.warnings)


@pytest.mark.parametrize("written", ["CREMA-D", "crema_d", "cremad", "Crema D"])
def test_a_name_in_any_spelling(written, tmp_path):
    TREES["crema-d"](tmp_path)
    assert read_corpus(written, tmp_path).name == "crema-d"
