# SPDX-License-Identifier: Apache-2.0
"""Every protocol: labels, counts, folds, rejected corpora, the plan of an evaluation and published results."""

import io
import json
import statistics
from collections import Counter

import numpy as np
import pytest
import soundfile
from corpus_trees import TREES
from protocol_rows import WITHOUT_SPEAKERS, row, rows_for, translated

from mser_llm.data.read_corpus import read_corpus
from mser_llm.data.splits import SpeakerLeakError
from mser_llm.evaluation.metrics import emotion_metrics
from mser_llm.evaluation.protocols import (
    PROTOCOLS,
    FullCorpus,
    KFold,
    LeaveLanguageOut,
    LeaveOneSessionOut,
    OfficialSplit,
    ProtocolError,
    check_model_leak,
    cross_lingual,
    find_protocol,
    format_published,
    plan_evaluation,
    published_table,
)
from mser_llm.evaluation.protocols.cross_lingual import NINE_LANGUAGES
from mser_llm.evaluation.protocols.protocol import MEASURED


FOUR = "neutral happy sad angry"
SEVEN = "neutral happy sad angry surprise disgust fear"
# Labels, test clips from the publishers' counts by emotion, and test clips in the small copies.
KNOWN = {
    "iemocap-4": (FOUR, 1708 + (595 + 1041) + 1084 + 1103, 4),
    "iemocap-7": (SEVEN, 1708 + 595 + 1084 + 1103 + 107 + 2 + 40, 3),
    "meld-4": (FOUR, 1256 + 402 + 208 + 345, 0),
    "meld-7": (SEVEN, 1256 + 402 + 281 + 345 + 208 + 68 + 50, 2),
    "shemo": ("neutral happy sad angry surprise fear", 1042 + 1160 + 362 + 203 + 201 + 32, 6),
    "aesdd": ("happy sad angry disgust fear", 121 + 122 + 120 + 119 + 122, 7),
    "ravdess-7": (SEVEN, 96 + 6 * 192, 2),
    "resd": ("neutral happy sad angry disgust fear enthusiasm", 1396, 7),
    **dict.fromkeys(("emodb-4", "emodb-4-5fold", "cross-lingual-de"), (FOUR, 79 + 71 + 62 + 127, 2)),
    **dict.fromkeys(("urdu-4", "urdu-4-5fold", "cross-lingual-ur"), (FOUR, 400, 4)),
    **dict.fromkeys(("subesco-4", "subesco-4-5fold", "cross-lingual-bn"), (FOUR, 4000, 4)),
    **dict.fromkeys(("ravdess-4", "ravdess-4-5fold", "cross-lingual-en"), (FOUR, 96 + 3 * 192, 1)),
    "cross-lingual-pl": (FOUR, 809 + 749 + 769 + 749, 1),
    "cross-lingual-it": (FOUR, 4 * 84, 4),
    "cross-lingual-fa": (FOUR, 1160 + 203 + 362 + 1042, 4),
    "cross-lingual-am": (FOUR, 522 + 486 + 470 + 486, 6),
    "cross-lingual-ru": (FOUR, 191 + 218 + 162 + 219, 4),
}
METRICS = emotion_metrics(["sad", "happy", "sad"], ["sad", "sad", "sad"], ["happy", "sad"])
every = pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=lambda protocol: protocol.name)


def names(rows):
    return Counter((one["corpus"], one["id"]) for one in rows)


def test_protocols_are_complete():
    assert set(PROTOCOLS) == set(KNOWN)


@every
def test_protocols_have_expected_labels_clips_and_results(protocol):
    words, clips, _ = KNOWN[protocol.name]
    assert list(protocol.labels) == words.split()
    assert sum(protocol.expected.values()) == clips
    assert tuple(protocol.expected) == protocol.tested_corpora
    assert protocol.labels.map("excited") == ("happy" if words == FOUR else None)
    assert protocol.labels.map("calm") is None
    low_resource = protocol.source.startswith("Gong et al.")
    assert (protocol.min_seconds, protocol.max_seconds) == ((0.5, 12) if low_resource else (None, None))
    for published in protocol.published:
        assert published.metric in METRICS and 0 < published.value < 1 and published.where
    assert protocol.published or protocol.assumption
    keys = [(one.system, one.metric, one.where, one.group) for one in protocol.published]
    assert len(keys) == len(set(keys))


@every
def test_folds_partition_the_test_clips(protocol):
    rows = rows_for(protocol)
    folds = protocol.folds(rows, allow_leak=isinstance(protocol.split, OfficialSplit))
    labelled = [one for one in rows if one["emotion"] != "frustrated"]
    tested = [one for fold in folds for one in fold.test]
    wanted = labelled
    if isinstance(protocol.split, OfficialSplit):
        wanted = [one for one in labelled if one["split"] == "test"]
    elif isinstance(protocol.split, LeaveLanguageOut):
        wanted = [one for one in labelled if one["language"] == protocol.split.language]
    assert names(tested) == names(wanted)
    assert protocol.found(tested) == {name: sum(one["corpus"] == name for one in wanted) for name in protocol.expected}
    for fold in folds:
        everything = names([*fold.train, *fold.validation, *fold.test])
        assert set(everything.values()) == {1}
        assert everything == names(labelled)
        assert (not fold.train) == isinstance(protocol.split, FullCorpus)
        if not isinstance(protocol.split, OfficialSplit):
            train_speakers = {one["speaker"] for one in fold.train} - {None}
            assert train_speakers.isdisjoint(one["speaker"] for one in fold.test)


@every
def test_folds_reject_planted_training_speaker(protocol):
    rows = rows_for(protocol)
    fold = protocol.divide(rows)[-1]
    victim = fold.test[0]
    # Another clip of the same speaker; without speakers, the clip itself.
    planted = victim if victim["speaker"] is None else victim | {"id": "another"}
    with pytest.raises(SpeakerLeakError, match=f"^{protocol.name}, "):
        protocol.folds(rows, [planted])
    with pytest.raises(SpeakerLeakError):
        protocol.check([planted], fold.test)
    leak = protocol.folds(rows, [planted], allow_leak=True)[-1].leak
    assert leak is not None and leak.found and leak.clips > 0
    assert victim["speaker"] is None or victim["speaker"] in leak.speakers


@every
def test_folds_leave_out_translations_of_test_clips(protocol):
    rows = rows_for(protocol)
    allowed = isinstance(protocol.split, OfficialSplit)
    for index, fold in enumerate(protocol.divide(rows)):
        planted = translated(fold.test[0])
        with pytest.raises(SpeakerLeakError):
            protocol.check([planted], fold.test)
        assert protocol.check([planted], fold.test, allow=True).found
        stranger = translated(row(0, "mead", "1", "sad"))
        checked_fold = protocol.folds(rows, [planted, stranger], allow_leak=allowed)[index]
        assert planted not in checked_fold.train and stranger in checked_fold.train
        assert checked_fold.leak is not None and (checked_fold.leak.found == allowed)


def test_folds_leave_out_translations_of_validation():
    rows = rows_for(PROTOCOLS["meld-7"])
    (fold,) = PROTOCOLS["meld-7"].divide(PROTOCOLS["meld-7"].rows_with_labels(rows))
    translations = [translated(one) for one in rows if one["emotion"] != "frustrated"]
    (checked_fold,) = PROTOCOLS["meld-7"].folds(rows, translations, allow_leak=True)
    assert names(checked_fold.train) == names([*fold.train, *(translated(one) for one in fold.train)])
    assert not checked_fold.leak.recordings


def test_folds_reject_shared_speakers():
    rows = rows_for(PROTOCOLS["meld-4"])
    with pytest.raises(SpeakerLeakError, match="meld-4, test: 10 "):
        PROTOCOLS["meld-4"].folds(rows)
    rows = rows_for(PROTOCOLS["iemocap-4"])
    rows.append(rows[0] | {"id": "again", "split": "session5"})
    with pytest.raises(SpeakerLeakError, match=r"iemocap-4, session1: .*iemocap-0"):
        PROTOCOLS["iemocap-4"].folds(rows)
    (fold,) = PROTOCOLS["resd"].folds(rows_for(PROTOCOLS["resd"]))
    assert fold.leak.unchecked[0].startswith("70 of 70")


@every
def test_protocols_split_published_layouts(protocol, tmp_path):
    rows = []
    for corpus in protocol.corpora:
        TREES[corpus](tmp_path / corpus)
        rows += read_corpus(corpus, tmp_path / corpus).rows
    if isinstance(protocol.split, KFold):
        with pytest.raises(ProtocolError, match="5 folds by speaker"):
            protocol.divide(rows)
        return
    folds = protocol.divide(rows)
    if isinstance(protocol.split, LeaveOneSessionOut):
        assert [fold.name for fold in folds] == ["session1", "session2", "session5"]
        for fold in folds:
            assert {one["speaker"][len("iemocap-Ses0")] for one in fold.test} == {fold.name[-1]}
    if isinstance(protocol.split, OfficialSplit):
        parts = {"test": folds[0].test, "dev": folds[0].validation, "train": folds[0].train}
        assert all({one["id"].split("/")[0] for one in rows} == {part} for part, rows in parts.items())
    tested = [one for fold in folds for one in fold.test]
    assert sum(protocol.found(tested).values()) == KNOWN[protocol.name][2]


def test_kfold_balances_gender():
    folds = PROTOCOLS["emodb-4-5fold"].folds(rows_for(PROTOCOLS["emodb-4-5fold"]))
    assert [fold.name for fold in folds] == ["fold1", "fold2", "fold3", "fold4", "fold5"]
    for fold in folds:
        people = {(one["speaker"], one["gender"]) for one in fold.test}
        assert sorted(gender for _, gender in people) == ["female", "male"]


def test_duration_limits_include_ends_and_broken_files(tmp_path):
    protocol = PROTOCOLS["emodb-4"]
    rows = []
    for number, seconds in enumerate((0.499, 0.5, 12.0, 12.001)):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, np.zeros(round(8000 * seconds)), 8000)
        rows.append(row(number, "emodb", "3", "sad") | {"duration": None, "audio": {"bytes": None, "path": str(path)}})
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(8000 * 13), 8000, format="FLAC")
    rows.append(rows[0] | {"audio": {"bytes": buffer.getvalue(), "path": "nowhere.flac"}})
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    rows.append(rows[0] | {"audio": {"bytes": None, "path": str(tmp_path / "broken.wav")}})
    # A duration that is known is not read again.
    rows.append(rows[0] | {"duration": 0.75})
    kept, left_out = protocol.usable(rows)
    assert kept == [rows[1], rows[2], rows[5], rows[6]]
    assert left_out == {"longer than 12 s": 2, "shorter than 0.5 s": 1}
    assert protocol.folds(rows)[0].test == tuple(kept)


def number(name, system, metric, where=None, group=None):
    (found,) = (
        one.value
        for one in PROTOCOLS[name].published
        if (one.system, one.metric, one.group) == (system, metric, group) and where in (None, one.where)
    )
    return found


def test_published_tables_agree():
    for metric in ("WA", "UA", "WF1"):
        last_row = number("iemocap-7", "MSER + L_lec (S2)", metric, "Table II")
        assert number("iemocap-7", "Zou et al.", metric, "Table I a") == last_row
    assert number("iemocap-7", "Zou et al.", "WA") == 0.690 and number("iemocap-7", "Zou et al.", "WF1") == 0.685
    assert any("68.5 %" in note and "69.0" in note for note in PROTOCOLS["iemocap-7"].notes)
    for corpus, system, gain in (("urdu", "BYOL", 0.106), ("subesco", "Contrastive", 0.139)):
        measured = number(f"{corpus}-4", system, "macro_F1") - number(f"{corpus}-4", "Baseline", "macro_F1")
        assert measured == pytest.approx(gain, abs=1e-9)


def test_nine_languages_have_all_four_emotions():
    assert len(NINE_LANGUAGES) == 9
    for language in ("el", "tr"):  # AESDD has no neutral speech, TurEV-DB has calm instead
        with pytest.raises(ProtocolError, match=f"language {language}"):
            cross_lingual(("en",), language)
    for name, protocol in PROTOCOLS.items():
        if name.startswith("cross-lingual-"):
            assert set(protocol.corpora) == set(NINE_LANGUAGES.values()) and protocol.assumption


def test_find_protocol_parses_settings():
    protocol = find_protocol("en+pl-to-de")
    assert protocol.tested_corpora == ("emodb",)
    assert {"ravdess", "crema-d", "nemo"} <= set(protocol.corpora) and "emovo" not in protocol.corpora
    with pytest.raises(ProtocolError, match=r"de\+en-to-de"):
        find_protocol("de+en-to-de")
    with pytest.raises(ProtocolError, match=r"iemocap4.*iemocap-4"):
        find_protocol("iemocap4")


def test_divide_rejects_other_corpora_and_clips_without_speaker():
    with pytest.raises(ProtocolError, match=r"aesdd.*shemo"):
        PROTOCOLS["aesdd"].divide(rows_for(PROTOCOLS["shemo"]))
    with pytest.raises(ProtocolError):
        PROTOCOLS["aesdd"].divide([])
    rows = [one | {"speaker": None} for one in rows_for(PROTOCOLS["emodb-4-5fold"])]
    with pytest.raises(ProtocolError, match="50 of 50"):
        PROTOCOLS["emodb-4-5fold"].divide(rows)


def test_real_corpora_have_expected_clips(corpora_dir):
    for name in ("ravdess-7", "ravdess-4", "ravdess-4-5fold", "emodb-4", "emodb-4-5fold", "cross-lingual-pl"):
        protocol = PROTOCOLS[name]
        (corpus,) = protocol.tested_corpora
        rows = read_corpus(corpus, corpora_dir / corpus).rows
        assert protocol.found(rows) == dict(protocol.expected)
        folds = protocol.folds(rows)
        assert sum(len(fold.test) for fold in folds) == sum(protocol.expected.values())
        assert len(folds) == (5 if name.endswith("5fold") else 1)
        assert WITHOUT_SPEAKERS == ("resd",) and not folds[0].leak.unchecked


def test_plan_evaluation_selects_all_or_one_fold():
    protocol = PROTOCOLS["iemocap-4"]
    rows = rows_for(protocol)
    every = plan_evaluation(protocol, rows)
    assert list(every.rows) == [f"iemocap:session{number}" for number in range(1, 6)]
    assert sorted(one["id"] for own in every.rows.values() for one in own) == sorted(one["id"] for one in rows)
    one = plan_evaluation(protocol, rows, "session3")
    assert list(one.rows) == ["iemocap"]
    assert {own["speaker"] for own in one.rows["iemocap"]} == {"iemocap-4", "iemocap-5"}
    assert (every.found, one.found) == ({"iemocap": 40}, {"iemocap": 8})
    with pytest.raises(ProtocolError, match=r"session6.*session1, session2"):
        plan_evaluation(protocol, rows, "session6")


def test_plan_counts_expected_found_and_left_out():
    protocol = PROTOCOLS["emodb-4"]
    rows = rows_for(protocol)
    rows[:2] = [one | {"duration": 0.4} for one in rows[:2]]
    outside_the_words = rows[4]
    assert outside_the_words["emotion"] == "frustrated"
    rows[4] |= {"duration": 99.0}
    chosen = plan_evaluation(protocol, rows)
    plan = json.loads(json.dumps(chosen.as_dict()))
    assert plan["name"] == "emodb-4" and plan["fold"] is None and chosen.fold_statistics({"emodb": METRICS}) is None
    assert (plan["expected"], plan["found"]) == ({"emodb": 339}, {"emodb": 40})
    assert plan["left_out"] == {"shorter than 0.5 s": 2}
    # Emotions outside the labels are counted as dropped by the evaluation.
    assert len(chosen.rows["emodb"]) == 48
    best = {"system": "Contrastive", "metric": "WA", "value": 0.906, "where": "Table 1", "std": 0.017, "group": None}
    assert best in plan["published"]


def test_fold_statistics_averages_folds():
    protocol = PROTOCOLS["emodb-4-5fold"]
    metrics = {f"emodb:fold{number}": METRICS | {"UA": number / 10} for number in range(1, 6)}
    over = plan_evaluation(protocol, rows_for(protocol)).fold_statistics(metrics)
    assert over["UA"] == {
        "mean": pytest.approx(0.3),
        "std": pytest.approx(statistics.stdev([0.1, 0.2, 0.3, 0.4, 0.5])),
    }


def test_check_model_leak_applies_zero_shot_conditions(tmp_path):
    test = [row(0, "emodb", "3", "sad")]
    report = check_model_leak(tmp_path, test)
    assert not report.found and report.tested == 1
    assert str(tmp_path) in report.unchecked[0], "there is no record"
    heard = {"speakers": ["emodb-9"], "recordings": [], "corpora": ["emodb"], "languages": ["de"]}
    (tmp_path / "train_results.json").write_text(json.dumps({"data": {"heard": heard}}))
    assert not check_model_leak(tmp_path, test).found
    assert not check_model_leak(tmp_path, test, PROTOCOLS["emodb-4-5fold"]).found
    for name, message in (("emodb-4", "corpus emodb"), ("cross-lingual-de", "language de")):
        with pytest.raises(SpeakerLeakError, match=message):
            check_model_leak(tmp_path, test, PROTOCOLS[name])
        assert check_model_leak(tmp_path, test, PROTOCOLS[name], allow=True).clips == 1


def test_published_table_ends_with_own_row():
    headers, rows = published_table(PROTOCOLS["aesdd"], METRICS)
    assert headers == ["system", "WA", "UA", "WF1", "where"]
    assert rows[0] == ["Zou et al., zero-shot", "0.426", "0.426", "0.365", "Table I b"]
    assert rows[-1] == [MEASURED, "0.667", "0.500", "0.533", ""] and len(rows) == 3
    assert [line.split()[0] for line in format_published(PROTOCOLS["aesdd"]).splitlines()] == ["system", "Zou", "SOTA"]

    headers, rows = published_table(PROTOCOLS["cross-lingual-de"], METRICS)
    assert headers == ["system", "WA", "UA", "WF1", "macro-F1", "precision", "where"]
    assert [row[0] for row in rows] == [MEASURED]
