# SPDX-License-Identifier: Apache-2.0
"""Summaries, metrics by group, and gaps, among which a planted bias is first."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from mser_llm.evaluation.predictions import Predictions
from mser_llm.evaluation.statistics.bootstrap import intervals
from mser_llm.evaluation.statistics.groups import breakdowns, gaps, summary


WORDS, THREE = ("happy", "sad"), ("happy", "sad", "angry")


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


def test_gaps_flagged_first_then_by_size():
    found = {
        "small": {"gap": 0.1, "p": 0.01, "flagged": True},
        "unsure": {"gap": 0.5, "p": 0.4, "flagged": False},
        "large": {"gap": 0.3, "p": 0.001, "flagged": True},
        "one speaker each": {"gap": 0.6, "p": None, "flagged": False},
    }
    parts = {name: {"languages": [], "n": 1, "groups": {"gender": {"gap": gap}}} for name, gap in found.items()}
    computed = gaps({"corpora": parts})
    assert [gap["name"] for gap in computed] == ["large", "small", "one speaker each", "unsure"]
    assert [gap["p_holm"] for gap in computed] == pytest.approx([0.003, 0.02, None, 0.4])


def simulate(rng, right, corpus="one", language="de", speakers=12, clips=30) -> Predictions:
    """Create predictions of a corpus with as many women as men; `right` is the accuracy of each gender."""
    lines = []
    for number, clip in np.ndindex(speakers, clips):
        gender, truth = ("female", "male")[number % 2], THREE[clip % 3]
        prediction = truth if rng.random() < right[gender] else THREE[(clip + 1) % 3]
        line = {"corpus": corpus, "id": f"{number}-{clip}", "emotion": truth, "prediction": prediction}
        lines.append(line | {"speaker": f"{corpus}-{language}-{number}", "gender": gender, "language": language})
    return Predictions.from_clips(THREE, lines)


def results(**corpora: Predictions):
    """Build results like `evaluate_corpora`."""
    languages = {name: sorted(set(part.languages)) for name, part in corpora.items()}
    pooled = Predictions.concatenate(list(corpora.values()))
    computed = {"corpora": {name: {**summary(part), "languages": languages[name]} for name, part in corpora.items()}}
    computed["pooled"] = summary(pooled)
    spoken = sorted(set(pooled.languages))
    chosen = {code: pooled.subset([one == code for one in pooled.languages]) for code in spoken}
    return computed | {"languages": {code: summary(part) for code, part in chosen.items()}}


def test_summary_has_metrics_intervals_and_groups():
    rng = np.random.default_rng(0)
    one = simulate(rng, {"female": 0.6, "male": 0.7})
    computed = summary(one)
    assert json.loads(json.dumps(computed)) == computed
    assert {name: computed[name] for name in one.metrics()} == one.metrics()
    assert computed["chance"] == pytest.approx(1 / 3)
    assert computed["intervals"] == intervals(one)
    assert (computed["clusters"], computed["clips_without_speaker"]) == (12, 0)
    assert set(computed["groups"]) == {"gender", "speaker"}
    assert computed["calibration"] is None
    scores = rng.dirichlet([1, 1, 1], size=len(one))
    lines = [{"corpus": "x", "id": str(number), "emotion": "sad", "prediction": "sad"} for number in range(len(one))]
    scored = summary(Predictions.from_clips(THREE, lines, scores))
    assert 0 < scored["calibration"]["ece"] < 1
    assert sum(row["n"] for row in scored["calibration"]["bins"]) == len(one)
    assert scored["clips_without_speaker"] == scored["clusters"] == len(one)
    alone = summary(simulate(rng, {"female": 0.6}, speakers=1))
    assert (alone["intervals"], alone["clusters"]) == (None, 1)


def test_chance_counts_labels_without_clips():
    rng = np.random.default_rng(5)
    words, truths = ("happy", "sad", "angry", "fear", "disgust"), np.array(["happy"] * 50 + ["sad"] * 30)
    drawn = []
    for _ in range(400):
        guesses = rng.choice(words, size=len(truths))
        drawn.append(np.mean([(guesses[truths == word] == word).mean() for word in ("happy", "sad")]))
    lines = [{"corpus": "x", "id": str(i), "emotion": truth, "prediction": "fear"} for i, truth in enumerate(truths)]
    assert summary(Predictions.from_clips(words, lines))["chance"] == pytest.approx(np.mean(drawn), abs=0.01)


def test_gaps_rank_planted_gender_bias_first():
    """Like Urdu in the second paper: 0.41 for women and 0.73 for men, behind a good average."""
    rng = np.random.default_rng(2)
    fair, biased = {"female": 0.8, "male": 0.8}, {"female": 0.41, "male": 0.73}
    computed = gaps(
        results(
            emodb=simulate(rng, fair, "emodb", "de"),
            urdu=simulate(rng, biased, "urdu", "ur"),
            shemo=simulate(rng, fair, "shemo", "fa"),
        )
    )
    flagged = [(gap["scope"], gap["name"], gap["by"]) for gap in computed if gap["flagged"]]
    assert ("corpus", "urdu", "gender") in flagged[:2]
    assert ("corpus", "emodb", "gender") not in flagged
    (urdu,) = [gap for gap in computed if gap["name"] == "urdu"]
    assert (urdu["worst"], urdu["best"]) == ("female", "male")
    assert urdu["low"] < 0.32 < urdu["high"]
    # Urdu is that corpus, so its gap is listed once.
    assert not [gap for gap in computed if gap["scope"] == "language"]


def test_gaps_rank_planted_language_bias_first():
    rng = np.random.default_rng(3)
    parts = [
        simulate(rng, {"female": right, "male": right}, "one", code) for code, right in (("de", 0.8), ("ur", 0.5))
    ]
    computed = gaps(results(one=Predictions.concatenate(parts)))
    assert (computed[0]["by"], computed[0]["best"], computed[0]["worst"]) == ("language", "de", "ur")
    assert computed[0]["flagged"]
    # Two languages in one corpus, each with both genders.
    assert {gap["name"] for gap in computed if gap["scope"] == "language"} == {"de", "ur"}
