# SPDX-License-Identifier: Apache-2.0
"""Every protocol: labels, counts, folds, and rejected corpora."""

from collections import Counter

import pytest
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
    LeaveOneOut,
    OfficialSplit,
    ProtocolError,
    cross_lingual,
    find_protocol,
)
from mser_llm.evaluation.protocols.cross_lingual import NINE_LANGUAGES


FOUR = "neutral happy sad angry"
SEVEN = "neutral happy sad angry surprise disgust fear"
# Labels and test clips, from the publishers' counts by emotion.
KNOWN = {
    "iemocap-4": (FOUR, 1708 + (595 + 1041) + 1084 + 1103),
    "iemocap-7": (SEVEN, 1708 + 595 + 1084 + 1103 + 107 + 2 + 40),
    "meld-4": (FOUR, 1256 + 402 + 208 + 345),
    "meld-7": (SEVEN, 1256 + 402 + 281 + 345 + 208 + 68 + 50),
    "shemo": ("neutral happy sad angry surprise fear", 1042 + 1160 + 362 + 203 + 201 + 32),
    "aesdd": ("happy sad angry disgust fear", 121 + 122 + 120 + 119 + 122),
    "ravdess-7": (SEVEN, 96 + 6 * 192),
    "resd": ("neutral happy sad angry disgust fear enthusiasm", 1396),
    **dict.fromkeys(("emodb-4", "emodb-4-5fold", "cross-lingual-de"), (FOUR, 79 + 71 + 62 + 127)),
    **dict.fromkeys(("urdu-4", "urdu-4-5fold", "cross-lingual-ur"), (FOUR, 400)),
    **dict.fromkeys(("subesco-4", "subesco-4-5fold", "cross-lingual-bn"), (FOUR, 4000)),
    **dict.fromkeys(("ravdess-4", "ravdess-4-5fold", "cross-lingual-en"), (FOUR, 96 + 3 * 192)),
    "cross-lingual-pl": (FOUR, 809 + 749 + 769 + 749),
    "cross-lingual-it": (FOUR, 4 * 84),
    "cross-lingual-fa": (FOUR, 1160 + 203 + 362 + 1042),
    "cross-lingual-am": (FOUR, 522 + 486 + 470 + 486),
    "cross-lingual-ru": (FOUR, 191 + 218 + 162 + 219),
}
# Test clips with these labels in the small copies.
IN_THE_TREE = {
    "iemocap-4": 4,
    "iemocap-7": 3,
    "meld-4": 0,
    "meld-7": 2,
    "shemo": 6,
    "aesdd": 7,
    "ravdess-7": 2,
    "resd": 7,
    "emodb-4": 2,
    "urdu-4": 4,
    "subesco-4": 4,
    "ravdess-4": 1,
    "cross-lingual-en": 1,
    "cross-lingual-de": 2,
    "cross-lingual-pl": 1,
    "cross-lingual-it": 4,
    "cross-lingual-ur": 4,
    "cross-lingual-bn": 4,
    "cross-lingual-fa": 4,
    "cross-lingual-am": 6,
    "cross-lingual-ru": 4,
}
every = pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=lambda protocol: protocol.name)


def names(rows):
    return Counter((one["corpus"], one["id"]) for one in rows)


def test_protocols_are_complete():
    assert set(PROTOCOLS) == set(KNOWN)


@every
def test_protocols_have_expected_labels_and_clips(protocol):
    words, clips = KNOWN[protocol.name]
    assert list(protocol.labels) == words.split()
    assert sum(protocol.expected.values()) == clips
    assert tuple(protocol.expected) == protocol.tested_corpora
    assert protocol.labels.map("excited") == ("happy" if words == FOUR else None)
    assert protocol.labels.map("calm") is None


@every
def test_folds_partition_the_test_clips(protocol):
    rows = rows_for(protocol)
    folds = protocol.folds(rows, allow_leak=isinstance(protocol.split, OfficialSplit))
    labelled = [one for one in rows if one["emotion"] != "frustrated"]
    tested = [one for fold in folds for one in fold.test]
    match protocol.split:
        case FullCorpus():
            wanted = labelled
        case OfficialSplit():
            wanted = [one for one in labelled if one["split"] == "test"]
        case LeaveLanguageOut(language):
            wanted = [one for one in labelled if one["language"] == language]
        case LeaveOneOut() | KFold():
            wanted = labelled
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


def test_meld_split_needs_allow_leak():
    rows = rows_for(PROTOCOLS["meld-4"])
    with pytest.raises(SpeakerLeakError, match="meld-4, test: 10 "):
        PROTOCOLS["meld-4"].folds(rows)


def test_folds_reject_speaker_in_two_sessions():
    rows = rows_for(PROTOCOLS["iemocap-4"])
    rows.append(rows[0] | {"id": "again", "split": "session5"})
    with pytest.raises(SpeakerLeakError, match=r"iemocap-4, session1: .*iemocap-0"):
        PROTOCOLS["iemocap-4"].folds(rows)


def test_resd_reports_unchecked_speakers():
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
    if isinstance(protocol.split, LeaveOneOut):
        assert [fold.name for fold in folds] == ["session1", "session2", "session5"]
        for fold in folds:
            assert {one["speaker"][len("iemocap-Ses0")] for one in fold.test} == {fold.name[-1]}
    if isinstance(protocol.split, OfficialSplit):
        assert {one["id"].split("/")[0] for one in folds[0].test} == {"test"}
        assert {one["id"].split("/")[0] for one in folds[0].validation} == {"dev"}
        assert {one["id"].split("/")[0] for one in folds[0].train} == {"train"}
    tested = [one for fold in folds for one in fold.test]
    assert sum(protocol.found(tested).values()) == IN_THE_TREE[protocol.name]


def test_kfold_balances_gender():
    folds = PROTOCOLS["emodb-4-5fold"].folds(rows_for(PROTOCOLS["emodb-4-5fold"]))
    assert [fold.name for fold in folds] == ["fold1", "fold2", "fold3", "fold4", "fold5"]
    for fold in folds:
        people = {(one["speaker"], one["gender"]) for one in fold.test}
        assert sorted(gender for _, gender in people) == ["female", "male"]


@pytest.mark.parametrize("name", [name for name, one in PROTOCOLS.items() if one.min_seconds is not None])
def test_low_resource_protocols_limit_duration(name):
    protocol = PROTOCOLS[name]
    rows = rows_for(protocol)
    lengths = [0.4, 0.5, 12.0, 12.1]
    changed = [one | {"duration": seconds} for one, seconds in zip(rows, lengths)] + rows[4:]
    kept, left_out = protocol.usable(changed)
    assert left_out == {"longer than 12 s": 1, "shorter than 0.5 s": 1}
    assert kept == [*changed[1:3], *changed[4:]]
    tested = [one["id"] for fold in protocol.folds(changed) for one in fold.test]
    assert {"clip0", "clip3"}.isdisjoint(tested) and {"clip1", "clip2"} <= set(tested)


def test_other_protocols_have_no_duration_limits():
    limited = {name for name, one in PROTOCOLS.items() if (one.min_seconds, one.max_seconds) != (None, None)}
    assert limited == {
        f"{name}-4{more}" for name in ("emodb", "urdu", "subesco", "ravdess") for more in ("", "-5fold")
    }


@every
def test_published_values_are_fractions_of_known_metrics(protocol):
    metrics = emotion_metrics(["sad"], ["sad"], ["sad"])
    for published in protocol.published:
        assert published.metric in metrics and 0 < published.value < 1 and published.where
    assert protocol.published or protocol.assumption
    keys = [(one.system, one.metric, one.where, one.group) for one in protocol.published]
    assert len(keys) == len(set(keys))


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


@pytest.mark.parametrize(("corpus", "system", "gain"), [("urdu", "BYOL", 0.106), ("subesco", "Contrastive", 0.139)])
def test_low_resource_gains_match_its_table(corpus, system, gain):
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


def test_divide_rejects_other_corpora():
    with pytest.raises(ProtocolError, match=r"aesdd.*shemo"):
        PROTOCOLS["aesdd"].divide(rows_for(PROTOCOLS["shemo"]))
    with pytest.raises(ProtocolError):
        PROTOCOLS["aesdd"].divide([])


def test_divide_rejects_clips_without_speaker():
    rows = [one | {"speaker": None} for one in rows_for(PROTOCOLS["emodb-4-5fold"])]
    with pytest.raises(ProtocolError, match="60 of 60"):
        PROTOCOLS["emodb-4-5fold"].divide([one for one in rows if one["emotion"] != "frustrated"] + rows[:20])


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
