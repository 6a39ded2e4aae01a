# SPDX-License-Identifier: Apache-2.0
import os

import pytest
from corpus_trees import touch

from mser_llm.data.listing import format_rank, list_files, without_extension
from mser_llm.data.read_corpus import read_corpus
from processing_mser.audio_mser import find_audio


def test_list_files_agrees_with_find_audio(tmp_path):
    touch(tmp_path, "b/2.WAV", "b c/1.flac", "b/10.ogg", "a.mp3", "b/.hidden.wav", ".git/x.wav", "b/c/x.tar.wav")
    touch(tmp_path, "b/words.txt", "b/clip.mp4", "b/wav", "b/c/.wav", "talk.M4A")
    listing = list_files(tmp_path)
    sound = [str(tmp_path / path) for path in listing.audio]
    # Sorted by path components: the files of a folder stay together.
    assert sound == [str(path) for path in find_audio([tmp_path]) if path.suffix != ".M4A"]
    assert listing.audio == ["a.mp3", "b/10.ogg", "b/2.WAV", "b/c/x.tar.wav", "b c/1.flac"]
    assert listing.media == ["b/clip.mp4", "talk.M4A"]
    assert listing.others == ["b/wav", "b/words.txt"]
    assert listing.unreadable == []


def test_names_that_are_not_utf8_are_reported(tmp_path):
    (tmp_path / "happy").mkdir()
    for name in (b"a.wav", b"caf\xe9.wav"):
        with open(os.path.join(os.fsencode(tmp_path), b"happy", name), "wb"):
            pass
    assert list_files(tmp_path).audio == ["happy/a.wav"]
    corpus = read_corpus("folder", tmp_path)
    assert [row["id"] for row in corpus.rows] == ["happy/a.wav"]
    (warning,) = corpus.warnings
    assert r"happy/caf\xe9.wav" in warning
    str(corpus).encode()


def test_links_to_folders_and_broken_links_are_listed(tmp_path):
    touch(tmp_path, "real/a.wav", "elsewhere/b.wav")
    os.symlink(tmp_path / "real" / "a.wav", tmp_path / "real" / "again.wav")
    os.symlink(tmp_path / "nowhere.wav", tmp_path / "real" / "gone.wav")
    os.symlink(tmp_path, tmp_path / "real" / "loop")
    listing = list_files(tmp_path / "real")
    assert listing.audio == ["a.wav", "again.wav"]
    assert listing.unreadable == ["gone.wav", "loop"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may search every folder")
def test_folder_without_permission_is_listed(tmp_path):
    touch(tmp_path, "open/a.wav", "shut/b.wav")
    (tmp_path / "shut").chmod(0)
    try:
        assert list_files(tmp_path).unreadable == ["shut"]
    finally:
        (tmp_path / "shut").chmod(0o700)


def test_without_extension_keeps_other_dots():
    names = {"a/b.wav": "a/b", "a.b/c": "a.b/c", "x.y.FLAC": "x.y", "clip.mp4": "clip", "1.11": "1.11", ".wav": ".wav"}
    assert {path: without_extension(path) for path in names} == names


def test_format_rank_prefers_uncompressed_audio():
    assert format_rank("a.wav") < format_rank("b/a.FLAC") < format_rank("a.ogg") < format_rank("a.mp3")
