# SPDX-License-Identifier: Apache-2.0
"""What a protocol measures of a corpus, and what the result says of it."""

import json
import statistics

import pytest
from protocol_rows import row, rows_for

from mser_llm.data.splits import SpeakerLeakError
from mser_llm.evaluation.metrics import emotion_metrics
from mser_llm.evaluation.protocols import (
    PROTOCOLS,
    ProtocolError,
    check_model_leak,
    format_published,
    plan_evaluation,
    published_table,
)
from mser_llm.evaluation.protocols.published import MEASURED


METRICS = emotion_metrics(["sad", "happy", "sad"], ["sad", "sad", "sad"], ["happy", "sad"])


def test_folds_are_measured_apart_and_one_can_be_chosen():
    protocol = PROTOCOLS["iemocap-4"]
    rows = rows_for(protocol)
    every = plan_evaluation(protocol, rows)
    assert list(every.rows) == [f"iemocap:session{number}" for number in range(1, 6)]
    assert sorted(one["id"] for own in every.rows.values() for one in own) == sorted(one["id"] for one in rows)
    one = plan_evaluation(protocol, rows, "session3")
    assert list(one.rows) == ["iemocap"]
    assert {own["speaker"] for own in one.rows["iemocap"]} == {"iemocap-4", "iemocap-5"}
    assert (every.found, one.found) == ({"iemocap": 40}, {"iemocap": 8})
    with pytest.raises(ProtocolError, match="iemocap-4 has no fold 'session6'; its folds are session1, session2"):
        plan_evaluation(protocol, rows, "session6")


def test_the_result_tells_expected_found_and_left_out():
    protocol = PROTOCOLS["emodb-4"]
    rows = rows_for(protocol)
    rows[:2] = [one | {"duration": 0.4} for one in rows[:2]]
    outside_the_words = rows[4]
    assert outside_the_words["emotion"] == "frustrated"
    rows[4] |= {"duration": 99.0}
    chosen = plan_evaluation(protocol, rows)
    told = json.loads(json.dumps(chosen.as_dict()))
    assert told["name"] == "emodb-4" and told["fold"] is None and chosen.fold_statistics({"emodb": METRICS}) is None
    assert (told["expected"], told["found"]) == ({"emodb": 339}, {"emodb": 40})
    assert told["left_out"] == {"shorter than 0.5 s": 2}
    # What the words do not hold is for the evaluation to count as dropped.
    assert len(chosen.rows["emodb"]) == 48
    best = {"system": "Contrastive", "metric": "WA", "value": 0.906, "where": "Table 1", "std": 0.017, "group": None}
    assert best in told["published"]


def test_folds_are_averaged():
    protocol = PROTOCOLS["emodb-4-5fold"]
    figures = {f"emodb:fold{number}": METRICS | {"UA": number / 10} for number in range(1, 6)}
    over = plan_evaluation(protocol, rows_for(protocol)).fold_statistics(figures)
    assert over["UA"] == {
        "mean": pytest.approx(0.3),
        "std": pytest.approx(statistics.stdev([0.1, 0.2, 0.3, 0.4, 0.5])),
    }


def test_a_model_without_a_record_says_that_nothing_was_checked(tmp_path):
    report = check_model_leak(tmp_path, [row(0, "emodb", "3", "sad")])
    assert not report.found and report.tested == 1
    assert str(tmp_path) in report.unchecked[0]


def test_a_model_is_refused_by_what_its_protocol_takes_for_never_heard(tmp_path):
    data = {
        "sources": [{"corpus": "emodb"}],
        "languages": {"de": 5},
        "heard": {"speakers": ["emodb-9"], "recordings": [], "corpora": ["emodb"], "languages": ["de"]},
    }
    (tmp_path / "train_results.json").write_text(json.dumps({"speakers": ["emodb-9"], "data": data}))
    test = [row(0, "emodb", "3", "sad")]
    assert not check_model_leak(tmp_path, test).found
    assert not check_model_leak(tmp_path, test, PROTOCOLS["emodb-4-5fold"]).found
    for name, said in (("emodb-4", "the corpus emodb"), ("cross-lingual-de", "the language de")):
        with pytest.raises(SpeakerLeakError, match=said):
            check_model_leak(tmp_path, test, PROTOCOLS[name])
        assert check_model_leak(tmp_path, test, PROTOCOLS[name], allow=True).clips == 1


def test_published_table_ends_with_own_row():
    headers, rows = published_table(PROTOCOLS["aesdd"], METRICS)
    assert headers == ["system", "WA", "UA", "WF1", "where"]
    assert rows[0] == ["Zou et al., zero-shot", "0.426", "0.426", "0.365", "Table I b"]
    assert rows[-1] == [MEASURED, "0.667", "0.500", "0.533", ""] and len(rows) == 3
    assert [line.split()[0] for line in format_published(PROTOCOLS["aesdd"]).splitlines()] == ["system", "Zou", "SOTA"]


def test_published_table_without_publication_has_all_metrics():
    headers, rows = published_table(PROTOCOLS["cross-lingual-de"], METRICS)
    assert headers == ["system", "WA", "UA", "WF1", "macro-F1", "precision", "where"]
    assert [row[0] for row in rows] == [MEASURED]
