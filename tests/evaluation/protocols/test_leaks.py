# SPDX-License-Identifier: Apache-2.0
"""Leaks by speaker, recording, translation and file content, between rows and with training records."""

import hashlib
import json

import pytest
from protocol_rows import row, translated

from mser_llm.data.clips import Clip
from mser_llm.data.splits import SpeakerLeakError
from mser_llm.evaluation.protocols import check_leak, read_training_record, record_from_rows, remove_leaks
from mser_llm.evaluation.protocols.training_record import TrainingRecordError
from mser_llm.hub.data_record import data_record
from mser_llm.inference.clip_digests import clip_sha256
from processing_mser import label_set


TEST = [
    row(0, "meld", "1", "sad"),
    row(1, "meld", "1", "happy"),
    row(2, "meld", "2", "sad"),
    row(3, "meld", None, "sad"),
]
CLEAN = [row(9, "meld", "3", "sad"), row(9, "ravdess", "1", "sad"), translated(row(8, "iemocap", "1", "sad"))]


@pytest.fixture
def stored(tmp_path):
    """Write a file, and return a row with it."""

    def store(one, name, content):
        (tmp_path / name).write_bytes(content)
        return one | {"audio": {"bytes": None, "path": str(tmp_path / name)}}

    return store


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


def test_check_leak_compares_content_on_request(stored, monkeypatch):
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


def clips(*rows):
    return [Clip(one, one["emotion"], one["id"], 2.0) for one in rows]


def write(folder, train, validation=(), earlier=None):
    folder.mkdir(parents=True, exist_ok=True)
    data = data_record(train, list(validation), label_set("four"), earlier)
    speakers = sorted({clip.row["speaker"] for clip in train} - {None})
    (folder / "train_results.json").write_text(json.dumps({"speakers": speakers, "data": data}))
    return read_training_record(folder)


def test_record_includes_validation_and_earlier_stages(tmp_path):
    first = write(tmp_path / "first", clips(row(0, "ravdess", "1", "sad"), row(1, "resd", None, "sad")))
    second = write(
        tmp_path / "second", clips(translated(row(0, "iemocap", "2", "sad"))), clips(row(0, "nemo", "3", "sad")), first
    )
    assert second.speakers == {"ravdess-1", "iemocap-2", "nemo-3"}
    assert second.corpora == {"ravdess", "resd", "iemocap", "nemo"}
    assert second.languages == {"en", "ru", "fr", "pl"}
    assert second.recordings == {"resd/clip1"} and second.without_speaker == 1
    for tested in (row(9, "ravdess", "1", "angry"), row(9, "nemo", "3", "angry"), row(1, "resd", None, "sad")):
        with pytest.raises(SpeakerLeakError):
            check_leak(second, [tested])
    assert not check_leak(second, [row(9, "ravdess", "4", "angry"), row(2, "resd", None, "sad")]).found


def test_unlabeled_training_speech_is_marked_not_rejected(tmp_path):
    trained_on = [Clip(row(n, "nemo", str(n), None), None, str(n), 2.0) for n in range(3)]
    trained_on.append(Clip(row(5, "resd", None, None), None, "5", 2.0))
    first = write(tmp_path / "first", trained_on)
    second = write(tmp_path / "second", clips(row(0, "ravdess", "1", "sad"), row(1, "nemo", "7", "sad")), (), first)
    for record in (first, second):
        assert record.unlabelled.speakers == {"nemo-0", "nemo-1", "nemo-2"}
        assert (record.unlabelled.corpora, record.unlabelled.languages) == ({"nemo", "resd"}, {"pl", "ru"})
        assert record.unlabelled.recordings == {"resd/clip5"}
    assert second.speakers == {"ravdess-1", "nemo-7"}
    report = check_leak(first, [row(9, "nemo", "1", "sad"), row(9, "nemo", "8", "sad"), row(9, "emodb", "3", "sad")])
    assert not report.found and report.unlabelled == ("nemo",) and report.unlabelled_clips == 1
    assert "nemo" in report.mark and "1 of 3" in report.mark
    assert report.as_dict()["mark"] == report.mark and not report.as_dict()["found"]
    assert check_leak(first, [row(5, "resd", None, "sad")]).unlabelled_clips == 1
    assert check_leak(first, [row(9, "emodb", "3", "sad")]).mark == ""
    zero_shot = check_leak(first, [row(9, "nemo", "8", "sad")], zero_shot_corpora=["nemo"], zero_shot_languages=["pl"])
    assert zero_shot.mark and not zero_shot.found
    # The same speaker with labels is a leak.
    with pytest.raises(SpeakerLeakError, match="nemo-7"):
        check_leak(second, [row(9, "nemo", "7", "sad")])


def test_unlabeled_user_folders_are_compared_by_speaker(tmp_path):
    record = write(tmp_path, [Clip(row(0, "folder", "1", None), None, "0", 2.0)])
    assert check_leak(record, [row(1, "folder", "2", "sad")]).mark == ""
    assert check_leak(record, [row(1, "folder", "1", "sad")]).unlabelled == ("folder",)


def test_record_identifies_files_by_content(tmp_path, stored):
    trained_on = stored(row(0, "folder", None, "sad"), "mine.wav", b"sound")
    key = hashlib.sha256(b"sound").hexdigest()
    synthetic = stored(translated(row(1, "iemocap", "1", "sad")), "made.wav", b"translated")
    both = [Clip(trained_on, "sad", key, 2.0), Clip(synthetic, "sad", hashlib.sha256(b"translated").hexdigest(), 2.0)]
    first = write(tmp_path / "first", both)
    second = write(tmp_path / "second", clips(row(2, "ravdess", "1", "sad")), (), first)
    copy = stored(row(9, "emodb", "3", "sad"), "03a01Ta.wav", b"sound")
    others = [
        stored(row(10, "emodb", "3", "sad"), "03a01Tb.wav", b"other"),
        stored(row(11, "emodb", "3", "sad"), "03a01Tc.wav", b"translated"),
        row(12, "emodb", "3", "sad"),  # whose file is missing
    ]
    for record in (first, second):
        assert key[:16] in record.files
        report = check_leak(record, [copy, *others], allow=True)
        assert report.recordings == ("emodb/clip9",) and (report.clips, report.tested) == (1, 4)
        with pytest.raises(SpeakerLeakError, match="emodb/clip9"):
            check_leak(record, [copy, *others])
        in_memory = copy | {"audio": {"bytes": b"sound", "path": "03a01Ta.wav"}}
        assert check_leak(record, [in_memory], allow=True).clips == 1
    without_emotion = write(tmp_path / "third", [Clip(trained_on | {"emotion": None}, None, key, 2.0)])
    report = check_leak(without_emotion, [copy, *others])
    assert not report.found and report.unlabelled == ("emodb",) and report.unlabelled_clips == 1


def test_missing_record_is_none_and_damaged_one_raises(tmp_path):
    assert read_training_record(tmp_path) is None
    assert read_training_record("owner/name-on-the-hub") is None
    incomplete = json.dumps({"data": {"heard": {"speakers": [], "recordings": []}}})
    for text in ("{", "[]", '{"data": {}}', '{"speakers": []}', incomplete):
        (tmp_path / "train_results.json").write_text(text)
        with pytest.raises(TrainingRecordError, match=r"train_results\.json"):
            read_training_record(tmp_path)
