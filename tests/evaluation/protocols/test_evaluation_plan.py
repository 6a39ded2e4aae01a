# SPDX-License-Identifier: Apache-2.0
"""Plan the evaluation of a protocol and describe it in the results."""

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
from mser_llm.evaluation.protocols.protocol import MEASURED


METRICS = emotion_metrics(["sad", "happy", "sad"], ["sad", "sad", "sad"], ["happy", "sad"])


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
