# SPDX-License-Identifier: Apache-2.0
"""Compare intervals over speakers with loops, scipy and simulations of a known truth."""

import dataclasses

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import balanced_accuracy_score, f1_score, precision_score

from mser_llm.evaluation.metrics.emotion_metrics import METRICS
from mser_llm.evaluation.predictions import Predictions, PredictionsError
from mser_llm.evaluation.statistics.bootstrap import group_gap, intervals, paired_difference, summarize_seeds
from mser_llm.evaluation.statistics.resampling import interval, p_value, resampled, speaker_counts
from processing_mser import UNPARSED


WORDS = ("neutral", "happy", "sad", "angry")
RECALL = np.array([0.8, 0.6, 0.5, 0.7])


def simulate(rng, speakers, clips=20, more=0.0) -> Predictions:
    """Simulate speakers of different accuracy; the mean recalls are `RECALL` + `more`."""
    skill = rng.uniform(-0.2, 0.2, size=speakers).repeat(clips)
    truths = np.tile(np.arange(clips) % 4, speakers)
    right = rng.random(len(truths)) < RECALL[truths] + more + skill
    predicted = np.where(right, truths, (truths + rng.integers(1, 4, size=len(truths))) % 4)
    names = [f"s{number}" for number in range(speakers) for _ in range(clips)]
    return predictions([WORDS[index] for index in truths], [WORDS[index] for index in predicted], names)


def predictions(truths, predicted, speakers, **fields) -> Predictions:
    ids = [str(number) for number in range(len(truths))]
    return Predictions(
        WORDS, ["corpus"] * len(ids), ids, list(truths), list(predicted), speakers=list(speakers), **fields
    )


def test_resampled_matches_explicit_loop():
    rng = np.random.default_rng(0)
    truths = rng.choice(WORDS[:3], 60)
    predicted = rng.choice([*WORDS, UNPARSED], 60)
    speakers = rng.choice(list("abcde"), 60)
    one = predictions(truths, predicted, [None if name == "e" else name for name in speakers])
    # Only the drawn speakers come from the tested code.
    clusters = one.clusters()
    count = clusters.max() + 1
    drawn = np.random.default_rng(7).integers(count, size=(20, count))

    metrics = resampled([speaker_counts(one)], METRICS, 20, seed=7)

    for index, draw in enumerate(drawn):
        clips = np.concatenate([np.flatnonzero(clusters == speaker) for speaker in draw])
        truth, prediction = truths[clips], predicted[clips]
        weighted = {"labels": sorted(set(truth)), "average": "weighted", "zero_division": 0}
        expected = {
            "UA": np.mean([(prediction[truth == word] == word).mean() for word in set(truth)]),
            "WA": (truth == prediction).mean(),
            "WF1": f1_score(truth, prediction, **weighted),
            "macro_F1": f1_score(truth, prediction, **(weighted | {"average": "macro"})),
            "precision": precision_score(truth, prediction, **weighted),
        }
        assert {name: values[index, 0] for name, values in metrics.items()} == pytest.approx(expected)


def test_intervals_match_scipy_for_one_clip_per_speaker():
    rng = np.random.default_rng(1)
    truths = rng.choice(WORDS, 300)
    predicted = np.where(rng.random(300) < 0.7, truths, "sad")
    ours = intervals(predictions(truths, predicted, []), ["WA"], resamples=20_000)
    right = (truths == predicted).astype(float)
    theirs = stats.bootstrap((right,), np.mean, n_resamples=20_000, method="percentile", rng=2).confidence_interval
    assert ours["WA"] == pytest.approx((theirs.low, theirs.high), abs=0.004)


@pytest.mark.parametrize("speakers", [3, 10, pytest.param(30, marks=pytest.mark.slow)])
def test_intervals_have_nominal_coverage(speakers):
    rng = np.random.default_rng(2)
    truth, trials = RECALL.mean(), 1000
    covered = plain = 0
    for trial in range(trials):
        draws = resampled([speaker_counts(simulate(rng, speakers))], ["UA"], 500, trial)["UA"]
        low, high = interval(draws, speakers, 0.95)
        covered += low <= truth <= high
        low, high = np.quantile(draws, [0.025, 0.975])
        plain += low <= truth <= high
    # Three standard errors of 1000 trials.
    assert covered / trials == pytest.approx(0.95, abs=0.021)
    # The reason why the interval is widened.
    assert plain / trials < {3: 0.8, 10: 0.93}.get(speakers, covered / trials)


def test_intervals_depend_on_speakers_and_seed():
    """Each clip is repeated ten times: the same speakers, so the same interval."""
    one = simulate(np.random.default_rng(3), 12)
    ten = predictions(one.truths * 10, one.predicted * 10, one.speakers * 10)
    assert {name: pytest.approx(bounds) for name, bounds in intervals(one).items()} == intervals(ten)
    alone = predictions(one.truths, one.predicted, [])
    assert np.diff(intervals(one)["WA"]) > 1.5 * np.diff(intervals(alone)["WA"])
    assert intervals(one, seed=1) == intervals(one, seed=1) != intervals(one, seed=2)


def test_one_speaker_has_no_interval():
    one = simulate(np.random.default_rng(4), 1)
    assert intervals(one) is None
    assert paired_difference(one, one)["low"] is paired_difference(one, one)["p"] is None
    assert summarize_seeds([one], ["UA"])["UA"]["interval"] is None


@pytest.mark.parametrize(
    ("truths", "predicted", "expected"),
    [
        (["sad"] * 8, ["sad"] * 8, [1, 1]),
        (["sad"] * 8, [UNPARSED] * 8, [0, 0]),
        # Two speakers of one label each: a resample without one of them averages over the other label.
        (["sad"] * 4 + ["happy"] * 4, ["sad"] * 8, [0, 1]),
    ],
)
def test_constant_predictions_have_empty_intervals(truths, predicted, expected):
    result = intervals(predictions(truths, predicted, ["a"] * 4 + ["b"] * 4))
    assert result["UA"] == result["WA"] == expected


def test_paired_difference_uses_shared_clips():
    rng = np.random.default_rng(6)
    first, second = simulate(rng, 10, more=0.15), simulate(rng, 10)
    chosen = np.arange(40, 200)[::-1]
    result = paired_difference(first, second.subset(chosen))
    truths = [first.truths[i] for i in chosen]
    expected = [balanced_accuracy_score(truths, [one.predicted[i] for i in chosen]) for one in (first, second)]
    assert result["difference"] == pytest.approx(expected[0] - expected[1])
    assert (result["n"], result["clusters"]) == (160, 8)
    assert result["low"] < result["difference"] < result["high"]
    turned = paired_difference(second, first.subset(chosen))
    assert turned["difference"] == pytest.approx(-result["difference"])
    with pytest.raises(PredictionsError):
        paired_difference(first.subset(np.arange(5)), second.subset(np.arange(5, 9)))


@pytest.mark.slow
def test_paired_difference_has_nominal_error_rate():
    rng = np.random.default_rng(7)
    trials, found = 300, 0
    for trial in range(trials):
        first, second = simulate(rng, 12), simulate(rng, 12)
        # Half of the other system's predictions equal the first's, as for two real systems.
        kept = rng.random(len(first)) < 0.5
        mixed = [a if keep else b for a, b, keep in zip(first.predicted, second.predicted, kept, strict=True)]
        result = paired_difference(first, predictions(first.truths, mixed, first.speakers), resamples=1000, seed=trial)
        excluded = result["low"] > 0 or result["high"] < 0
        assert (result["p"] < 0.05) == excluded or result["p"] == pytest.approx(0.05, abs=0.01)
        found += excluded
    assert found / trials == pytest.approx(0.05, abs=0.038)


@pytest.mark.parametrize("speakers", [2, 4])
def test_paired_difference_error_rate_for_few_speakers(speakers):
    rng = np.random.default_rng(19)
    pairs = [[simulate(rng, speakers, 8) for _ in "ab"] for _ in range(300)]
    p = np.array([paired_difference(*pair, resamples=300, seed=trial)["p"] for trial, pair in enumerate(pairs)])
    assert (p < 0.05).mean() < 0.08
    assert p.min() > 0.001


def test_paired_difference_of_constant_predictions():
    right = predictions(["sad"] * 6, ["sad"] * 6, list("aabbcc"))
    wrong = predictions(["sad"] * 6, ["happy"] * 6, list("aabbcc"))
    result = paired_difference(right, wrong)
    assert (result["low"], result["high"], result["p"]) == (1, 1, 0.25), "p of a sign test"
    one = simulate(np.random.default_rng(8), 10)
    result = paired_difference(one, one)
    assert (result["difference"], result["low"], result["high"], result["p"]) == (0, 0, 0, 1)


def test_paired_difference_merges_known_speakers():
    first, second = simulate(np.random.default_rng(20), 8), simulate(np.random.default_rng(21), 8)
    nameless = predictions(first.truths, first.predicted, [])
    there, back = paired_difference(nameless, second), paired_difference(second, nameless)
    assert there["clusters"] == back["clusters"] == 8
    assert (there["low"], there["p"]) == (pytest.approx(-back["high"]), pytest.approx(back["p"]))
    other = predictions(first.truths, first.predicted, ["somebody else", *first.speakers[1:]])
    with pytest.raises(PredictionsError, match=r"clip 0.*s0.*somebody else"):
        paired_difference(second, other)


def test_p_value_is_level_at_which_interval_touches_zero():
    """If no resample is beyond 0, p is that of Student's t of the mean."""
    rng = np.random.default_rng(9)
    differences = rng.normal(0.02, 0.01, 20_000)
    p = p_value(differences, 15)
    low, _ = interval(differences, 15, 1 - p)
    assert low == pytest.approx(0, abs=1e-4)
    sample = rng.normal(0.5, 0.4, 30)
    means = rng.choice(sample, size=(5000, 30)).mean(axis=1)
    assert (means > 0).all()
    assert np.log10(p_value(means, 30)) == pytest.approx(np.log10(stats.ttest_1samp(sample, 0).pvalue), abs=0.25)


def test_summarize_seeds_resamples_speakers_and_seeds():
    rng = np.random.default_rng(10)
    runs = [simulate(rng, 10, more=more) for more in (-0.25, 0.0, 0.25)]
    result = summarize_seeds(runs)
    for metric in ("UA", "WA"):
        values = [run.metrics()[metric] for run in runs]
        assert result[metric]["values"] == pytest.approx(values)
        assert result[metric]["mean"] == pytest.approx(np.mean(values))
        assert result[metric]["std"] == pytest.approx(np.std(values, ddof=1))
    same = summarize_seeds([runs[1]] * 3)
    assert np.diff(result["UA"]["interval"]) > 1.3 * np.diff(same["UA"]["interval"])
    assert same["UA"]["std"] == pytest.approx(0)
    assert same["UA"]["interval"] == pytest.approx(intervals(runs[1])["UA"])
    assert summarize_seeds([runs[1]])["UA"]["std"] is None


@pytest.mark.slow
def test_summarize_seeds_has_nominal_coverage():
    rng = np.random.default_rng(11)
    trials, covered = 200, 0
    for trial in range(trials):
        runs = [simulate(rng, 20, more=rng.normal(0, 0.04)) for _ in range(4)]
        low, high = summarize_seeds(runs, ["UA"], resamples=500, seed=trial)["UA"]["interval"]
        covered += low <= RECALL.mean() <= high
    # Four seeds estimate the variation between seeds poorly, and each run has its own speakers.
    assert covered / trials == pytest.approx(0.95, abs=0.05)


def test_seeds_widen_the_difference_unless_matched():
    """Seeds that are good for both systems widen the interval only if the runs are not matched."""
    rng = np.random.default_rng(12)
    one, other, *seeds = (simulate(rng, 10, more=more) for more in (0.1, 0.0, -0.3, 0.0, 0.3))
    single, several = paired_difference(one, other), paired_difference(seeds, other)
    means = np.mean([run.metrics()["UA"] for run in seeds]) - other.metrics()["UA"]
    assert several["difference"] == pytest.approx(means)
    assert several["high"] - several["low"] > single["high"] - single["low"]
    matched, free = (paired_difference(seeds, seeds, matched=choice) for choice in (True, False))
    assert (matched["difference"], matched["low"], matched["high"], matched["p"]) == (0, 0, 0, 1)
    assert free["difference"] == 0 and free["low"] < -0.1 and free["high"] > 0.1
    with pytest.raises(ValueError, match="3 and 2"):
        paired_difference(seeds, seeds[:2], matched=True)


def two_groups(rng, gap, speakers=10):
    both = Predictions.concatenate([simulate(rng, speakers, more=more) for more in (0.0, gap)])
    groups = np.repeat(["female", "male"], len(both) // 2).tolist()
    people = [f"{group}-{speaker}" for group, speaker in zip(groups, both.speakers)]
    return predictions(both.truths, both.predicted, people, genders=groups)


def test_group_gap_finds_planted_gap():
    one = two_groups(np.random.default_rng(13), 0.2)
    result = group_gap(one)
    women, men = (one.subset([gender == name for gender in one.genders]) for name in ("female", "male"))
    assert (result["best"], result["worst"]) == ("male", "female")
    assert result["groups"] == {"female": women.metrics()["UA"], "male": men.metrics()["UA"]}
    assert result["gap"] == pytest.approx(men.metrics()["UA"] - women.metrics()["UA"])
    assert result["flagged"] and 0 < result["low"] < result["gap"] < result["high"] and result["p"] < 0.05
    assert (result["n"], result["clusters"]) == ({"female": 200, "male": 200}, {"female": 10, "male": 10})


@pytest.mark.slow
@pytest.mark.parametrize("names", [("female", "male"), ("de", "el", "fa", "ru")])
def test_group_gap_has_nominal_error_rate(names):
    rng = np.random.default_rng(14)
    trials, flagged = 200, 0
    for trial in range(trials):
        one = simulate(rng, 6 * len(names))
        group = {f"s{number}": names[number % len(names)] for number in range(6 * len(names))}
        one = dataclasses.replace(one, languages=[group[name] for name in one.speakers])
        flagged += group_gap(one, "language", resamples=1000, seed=trial)["flagged"]
    assert flagged / trials < 0.1


@pytest.mark.slow
def test_group_gap_interval_has_nominal_coverage():
    rng = np.random.default_rng(15)
    trials, covered = 300, 0
    for trial in range(trials):
        result = group_gap(two_groups(rng, 0.1, speakers=6), resamples=1000, seed=trial)
        sign = 1 if result["best"] == "male" else -1
        low, high = sorted((sign * result["low"], sign * result["high"]))
        covered += low <= 0.1 <= high
    assert covered / trials == pytest.approx(0.95, abs=0.04)


def test_group_gap_compares_shared_labels():
    truths = ["sad", "happy"] * 6 + ["sad", "angry"] * 6
    predicted = ["sad"] * 12 + ["sad", "angry"] * 6
    one = predictions(truths, predicted, list("aabbccddeeff") * 2, languages=["de"] * 12 + ["el"] * 12)
    result = group_gap(one, "language")
    assert result["labels"] == ["sad"]
    assert result["groups"] == {"de": 1.0, "el": 1.0}
    assert (result["gap"], result["flagged"]) == (0, False)
    apart = predictions(["sad"] * 2 + ["happy"] * 2, ["sad"] * 4, list("abcd"), languages=["de", "de", "el", "el"])
    assert group_gap(apart, "language") is None


def test_group_gap_without_variance_uses_permutations():
    people, genders = list("aabbccdd"), ["female"] * 4 + ["male"] * 4
    predicted = ["sad"] * 4 + ["happy"] * 4
    result = group_gap(predictions(["sad"] * 8, predicted, people, genders=genders))
    # Two of four speakers are women: six divisions, two of which have the same maximum gap.
    assert (result["gap"], result["p"], result["flagged"]) == (1.0, pytest.approx(1 / 3), False)
    perfect = group_gap(predictions(["sad"] * 8, ["sad"] * 8, people, genders=genders))
    assert (perfect["gap"], perfect["p"], perfect["flagged"]) == (0.0, 1.0, False)


def test_group_gap_of_one_speaker_has_no_interval():
    one = two_groups(np.random.default_rng(16), 0.2, speakers=1)
    result = group_gap(one)
    assert result["gap"] > 0
    assert result["low"] is result["high"] is result["p"] is None
    assert not result["flagged"]
    three = Predictions.concatenate([two_groups(np.random.default_rng(17), 0.2), one.subset(np.arange(20))])
    three = dataclasses.replace(three, languages=["de"] * 200 + ["el"] * 200 + ["x"] * 20)
    result = group_gap(three, "language")
    assert set(result["groups"]) == {"de", "el"}
    assert result["flagged"]
    assert group_gap(simulate(np.random.default_rng(18), 4)) is None, "no group is known"
