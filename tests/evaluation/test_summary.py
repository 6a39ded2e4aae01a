# SPDX-License-Identifier: Apache-2.0
"""Summarize predictions, and rank a planted bias first among the gaps."""

import json

import numpy as np
import pytest

from mser_llm.evaluation.predictions import Predictions
from mser_llm.evaluation.statistics.bootstrap import intervals
from mser_llm.evaluation.summary import gaps, summary


WORDS = ("happy", "sad", "angry")


def make_predictions(rng, right, corpus="one", language="de", speakers=12, clips=30) -> Predictions:
    """Create predictions of a corpus with as many women as men; `right` is the accuracy of each gender."""
    lines = []
    for number in range(speakers):
        gender = ("female", "male")[number % 2]
        for clip in range(clips):
            truth = WORDS[clip % 3]
            prediction = truth if rng.random() < right[gender] else WORDS[(clip + 1) % 3]
            lines.append(
                {
                    "corpus": corpus,
                    "id": f"{number}-{clip}",
                    "emotion": truth,
                    "prediction": prediction,
                    "speaker": f"{corpus}-{language}-{number}",
                    "gender": gender,
                    "language": language,
                }
            )
    return Predictions.from_clips(WORDS, lines)


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
    one = make_predictions(rng, {"female": 0.6, "male": 0.7})
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
    scored = summary(Predictions.from_clips(WORDS, lines, scores))
    assert 0 < scored["calibration"]["ece"] < 1
    assert sum(row["n"] for row in scored["calibration"]["bins"]) == len(one)
    assert scored["clips_without_speaker"] == scored["clusters"] == len(one)
    alone = summary(make_predictions(rng, {"female": 0.6}, speakers=1))
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
            emodb=make_predictions(rng, fair, "emodb", "de"),
            urdu=make_predictions(rng, biased, "urdu", "ur"),
            shemo=make_predictions(rng, fair, "shemo", "fa"),
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
        make_predictions(rng, {"female": right, "male": right}, "one", code)
        for code, right in (("de", 0.8), ("ur", 0.5))
    ]
    computed = gaps(results(one=Predictions.concatenate(parts)))
    assert (computed[0]["by"], computed[0]["best"], computed[0]["worst"]) == ("language", "de", "ur")
    assert computed[0]["flagged"]
    # Two languages in one corpus, each with both genders.
    assert {gap["name"] for gap in computed if gap["scope"] == "language"} == {"de", "ur"}
