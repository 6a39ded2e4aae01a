# SPDX-License-Identifier: Apache-2.0
"""Leaks by speaker, recording, translation and file content."""

import pytest
from protocol_rows import row, translated

from mser_llm.data.splits import SpeakerLeakError
from mser_llm.evaluation.protocols import check_leak, record_from_rows, remove_leaks
from mser_llm.inference.clip_digests import clip_sha256


TEST = [
    row(0, "meld", "1", "sad"),
    row(1, "meld", "1", "happy"),
    row(2, "meld", "2", "sad"),
    row(3, "meld", None, "sad"),
]
CLEAN = [row(9, "meld", "3", "sad"), row(9, "ravdess", "1", "sad"), translated(row(8, "iemocap", "1", "sad"))]


def test_check_leak_passes_and_reports_unchecked_clips():
    report = check_leak(CLEAN, TEST)
    assert not report.found
    assert (report.clips, report.tested) == (0, 4)
    (sentence,) = report.unchecked
    assert sentence.startswith("1 of 4")


def test_check_leak_rejects_or_reports_shared_speaker():
    training = [*CLEAN, row(7, "meld", "1", "fear")]
    with pytest.raises(SpeakerLeakError, match="meld-1; 2 of 4"):
        check_leak(training, TEST)
    report = check_leak(training, TEST, allow=True)
    assert report.as_dict() == {
        "found": True,
        "speakers": ["meld-1"],
        "recordings": [],
        "corpora": [],
        "languages": [],
        "clips": 2,
        "tested": 4,
        "unchecked": list(report.unchecked),
        "mark": "",
        "unlabelled": [],
        "unlabelled_clips": 0,
    }


@pytest.mark.parametrize("planted", [TEST[3], translated(TEST[3]), translated(TEST[3], "en", source_id=None)])
def test_check_leak_rejects_translated_recording(planted):
    """The last case is the source itself inside M5SER."""
    with pytest.raises(SpeakerLeakError, match="meld/clip3; 1 of 4"):
        check_leak([*CLEAN, planted], TEST)


def test_translation_has_speaker_of_its_source():
    report = check_leak([translated(row(50, "meld", "2", "angry"), "de")], TEST, allow=True)
    assert report.speakers == ("meld-2",) and report.recordings == () and report.clips == 1


def test_check_leak_distinguishes_folders():
    def own(root, identity="sad/0.wav"):
        return row(0, "folder", None, "sad") | {"id": identity, "audio": {"bytes": None, "path": f"{root}/{identity}"}}

    assert not check_leak([own("/a")], [own("/b")]).found
    assert check_leak([own("/a/../a")], [own("/a")], allow=True).clips == 1
    assert check_leak([translated(own("/a"))], [own("/a")], allow=True).clips == 1
    assert remove_leaks([own("/a"), own("/b"), translated(own("/a"))], [own("/a")]) == [own("/b")]


def test_check_leak_rejects_zero_shot_corpus_and_language():
    stranger = translated(row(70, "meld", "77", "sad"), "de")
    with pytest.raises(SpeakerLeakError, match=r"corpus meld.* 4 of 4"):
        check_leak([stranger], TEST, zero_shot_corpora=("meld",))
    german = [row(0, "emodb", "3", "sad")]
    with pytest.raises(SpeakerLeakError, match="language de"):
        check_leak([stranger], german, zero_shot_languages=("de",))
    assert not check_leak([stranger], german, zero_shot_corpora=("emodb",), zero_shot_languages=("pl",)).found


def test_remove_leaks_removes_exactly_the_overlap():
    planted = [TEST[0], translated(TEST[1]), translated(TEST[3]), translated(row(60, "meld", "2", "sad"))]
    assert remove_leaks([*CLEAN, *planted], TEST[:2], TEST[2:]) == CLEAN
    assert not check_leak(remove_leaks([*CLEAN, *planted], TEST), TEST).found
    # If both sides share speakers by design, only recordings are removed.
    assert remove_leaks([*CLEAN, *planted], TEST, speakers=False) == [*CLEAN, planted[3]]


def test_record_from_rows_names_sources_of_translations():
    record = record_from_rows([*CLEAN, row(5, "resd", None, "sad")])
    assert record.corpora == {"meld", "ravdess", "iemocap", "resd"}
    assert record.languages == {"en", "fr", "ru"}
    assert record.speakers == {"meld-3", "ravdess-1", "iemocap-1"}
    assert record.without_speaker == 1
    assert not check_leak(record, [row(9, "resd", None, "sad")]).found, "unknown speakers are not equal"


def test_check_leak_compares_content_on_request(tmp_path, monkeypatch):
    def stored(one, name, content):
        (tmp_path / name).write_bytes(content)
        return one | {"audio": {"bytes": None, "path": str(tmp_path / name)}}

    mine, emodb = row(0, "folder", None, "sad"), row(0, "emodb", "3", "sad")
    training = [
        stored(mine, "mine.wav", b"sound"),
        stored(mine, "long.wav", b"another length"),
        stored(mine, "nothing.wav", b""),
        translated(row(3, "iemocap", "1", "sad")) | {"audio": {"bytes": b"a translation", "path": "t.flac"}},
        mine,  # whose file is missing
    ]
    contents = (b"sound", b"other", b"a length of its own", b"", b"a translation")
    test = [stored(emodb | {"id": f"clip{9 + i}"}, f"{9 + i}.wav", content) for i, content in enumerate(contents)]
    test.append(emodb | {"id": "clip14"})
    test.append(emodb | {"id": "clip15", "audio": {"bytes": b"sound", "path": "a/name.wav"}})
    read = []

    def content(source):
        read.append(source["path"].rpartition("/")[2])
        return clip_sha256(source)

    monkeypatch.setattr("mser_llm.evaluation.protocols.leaks.clip_sha256", content)
    assert not check_leak(training, test).found and not read
    report = check_leak(training, test, allow=True, by_content=True)
    assert report.recordings == ("emodb/clip15", "emodb/clip9") and (report.clips, report.tested) == (2, 7)
    assert sorted(read) == ["10.wav", "9.wav", "mine.wav", "name.wav"], "files of other sizes are not read"
    with pytest.raises(SpeakerLeakError, match="emodb/clip15, emodb/clip9"):
        check_leak(training, test, by_content=True)
    assert not check_leak(training[1:], test, by_content=True).found
