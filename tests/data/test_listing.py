# SPDX-License-Identifier: Apache-2.0
import os

import pytest
from corpus_trees import touch

from mser_llm.data.listing import format_rank, list_files, without_extension
from mser_llm.data.read_corpus import read_corpus
from processing_mser.audio_mser import find_audio


def test_what_is_listed_is_what_find_audio_finds(tmp_path):
    touch(tmp_path, "b/2.WAV", "b c/1.flac", "b/10.ogg", "a.mp3", "b/.hidden.wav", ".git/x.wav", "b/c/x.tar.wav")
    touch(tmp_path, "b/words.txt", "b/clip.mp4", "b/wav", "b/c/.wav", "talk.M4A")
    listing = list_files(tmp_path)
    sound = [str(tmp_path / path) for path in listing.audio]
    # Two implementations of one order, in which a folder's files stand together.
    assert sound == [str(path) for path in find_audio([tmp_path]) if path.suffix != ".M4A"]
    assert listing.audio == ["a.mp3", "b/10.ogg", "b/2.WAV", "b/c/x.tar.wav", "b c/1.flac"]
    assert listing.media == ["b/clip.mp4", "talk.M4A"]
    assert listing.others == ["b/wav", "b/words.txt"]
    assert listing.unreadable == []


def test_a_name_that_is_not_utf_8_is_told(tmp_path):
    (tmp_path / "happy").mkdir()
    for name in (b"a.wav", b"caf\xe9.wav"):
        with open(os.path.join(os.fsencode(tmp_path), b"happy", name), "wb"):
            pass
    assert list_files(tmp_path).audio == ["happy/a.wav"]
    reading = read_corpus("folder", tmp_path)
    assert [row["id"] for row in reading.rows] == ["happy/a.wav"]
    (warning,) = reading.warnings
    assert r"1 files have names that are not UTF-8, such as happy/caf\xe9.wav, and were not read; rename" in warning
    str(reading).encode()


def test_links(tmp_path):
    touch(tmp_path, "real/a.wav", "elsewhere/b.wav")
    os.symlink(tmp_path / "real" / "a.wav", tmp_path / "real" / "again.wav")
    os.symlink(tmp_path / "nowhere.wav", tmp_path / "real" / "gone.wav")
    os.symlink(tmp_path, tmp_path / "real" / "loop")
    listing = list_files(tmp_path / "real")
    assert listing.audio == ["a.wav", "again.wav"]
    assert listing.unreadable == ["gone.wav", "loop"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may search every folder")
def test_a_folder_that_may_not_be_searched_is_told(tmp_path):
    touch(tmp_path, "open/a.wav", "shut/b.wav")
    (tmp_path / "shut").chmod(0)
    try:
        assert list_files(tmp_path).unreadable == ["shut"]
    finally:
        (tmp_path / "shut").chmod(0o700)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/b.wav", "a/b"),
        ("a.b/c", "a.b/c"),
        ("x.y.FLAC", "x.y"),
        ("clip.mp4", "clip"),
        ("1.11", "1.11"),
        (".wav", ".wav"),
    ],
)
def test_only_the_extension_of_a_recording_goes(path, name):
    assert without_extension(path) == name


def test_uncompressed_comes_before_compressed():
    assert format_rank("a.wav") < format_rank("b/a.FLAC") < format_rank("a.ogg") < format_rank("a.mp3")
