# SPDX-License-Identifier: Apache-2.0
"""Metrics by group, and the order of gaps."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from mser_llm.evaluation.predictions import Predictions
from mser_llm.evaluation.statistics.bootstrap import intervals
from mser_llm.evaluation.statistics.groups import breakdowns, sorted_gaps


WORDS = ("happy", "sad")


def make_predictions(right: dict[str, float], clips=40, languages=None) -> Predictions:
    """Create clips per speaker with a share of correct predictions; `f…` are women, `m…` men."""
    speakers = [name for name in right for _ in range(clips)]
    truths = [WORDS[number % 2] for _ in right for number in range(clips)]
    predicted = [
        WORDS[(number + (number // 2 >= share * clips / 2)) % 2] for share in right.values() for number in range(clips)
    ]
    genders = [{"f": "female", "m": "male"}.get(name[0]) for name in speakers]
    ids = [str(number) for number in range(len(truths))]
    return Predictions(
        WORDS, ["x"] * len(ids), ids, truths, predicted, speakers=speakers, genders=genders, languages=languages or []
    )


def test_breakdowns_match_metrics_of_subsets():
    one = make_predictions({"f1": 0.4, "f2": 0.3, "f3": 0.5, "m1": 0.8, "m2": 0.7, "x": 0.5})
    computed = breakdowns(one)
    assert set(computed) == {"gender", "speaker"}
    assert computed["gender"]["unknown"] == 40
    assert set(computed["gender"]["groups"]) == {"female", "male"}
    for name, group in computed["gender"]["groups"].items():
        own = [index for index, gender in enumerate(one.genders) if gender == name]
        truths, predicted = [one.truths[i] for i in own], [one.predicted[i] for i in own]
        assert group["n"] == len(own)
        assert group["UA"] == pytest.approx(balanced_accuracy_score(truths, predicted))
        assert group["interval"] == list(intervals(one.subset(np.array(own)))["UA"])
        assert group["supported_labels"] == 2
        assert group["clusters"] == {"female": 3, "male": 2}[name]
    assert computed["gender"]["gap"]["gap"] == pytest.approx(0.75 - 0.4)
    assert computed["gender"]["gap"]["flagged"]


def test_breakdowns_rank_speakers_with_enough_clips():
    right = {"f1": 0.3, "f2": 0.5, "m1": 0.6, "m2": 0.9}
    few = make_predictions({"m3": 0.0}, clips=4)
    one = Predictions.concatenate([make_predictions(right), few])
    speaker = breakdowns(one)["speaker"]
    assert speaker["n"] == 4
    assert speaker["worst"] == {"speaker": "f1", "UA": pytest.approx(0.3), "n": 40}
    assert speaker["best"] == {"speaker": "m2", "UA": pytest.approx(0.9), "n": 40}
    assert speaker["quartiles"] == pytest.approx(list(np.percentile([0.3, 0.5, 0.6, 0.9], [25, 50, 75])))
    assert breakdowns(Predictions(WORDS, one.corpora, one.ids, one.truths, one.predicted)) == {}, "nothing is known"


def test_breakdowns_count_all_speakers_at_once(monkeypatch):
    subset, asked = Predictions.subset, []
    monkeypatch.setattr(Predictions, "subset", lambda self, mask: asked.append(1) or subset(self, mask))
    counts = []
    for speakers in (10, 100):
        asked.clear()
        breakdowns(make_predictions({f"f{number}": 0.5 for number in range(speakers)}, clips=10))
        counts.append(len(asked))
    assert counts[0] == counts[1]


def test_breakdowns_by_language_and_corpus():
    parts = [
        make_predictions({"a": 0.5, "b": 0.6}, languages=["de"] * 80),
        make_predictions({"c": 0.9, "d": 0.8}, languages=["ur"] * 80),
    ]
    computed = breakdowns(replace(Predictions.concatenate(parts), corpora=["x"] * 80 + ["y"] * 80))
    assert set(computed["language"]["groups"]) == {"de", "ur"}
    assert computed["language"]["gap"]["best"] == "ur"
    # One corpus is harder than another, which is no bias.
    assert set(computed["corpus"]) == {"groups", "unknown"}
    assert "language" not in breakdowns(parts[0])


def test_sorted_gaps_flagged_first_then_by_size():
    found = [
        {"name": "small", "gap": 0.1, "p": 0.01, "flagged": True},
        {"name": "unsure", "gap": 0.5, "p": 0.4, "flagged": False},
        {"name": "large", "gap": 0.3, "p": 0.001, "flagged": True},
        {"name": "one speaker each", "gap": 0.6, "p": None, "flagged": False},
    ]
    computed = sorted_gaps(found)
    assert [gap["name"] for gap in computed] == ["large", "small", "one speaker each", "unsure"]
    assert [gap["p_holm"] for gap in computed] == pytest.approx([0.003, 0.02, None, 0.4])
