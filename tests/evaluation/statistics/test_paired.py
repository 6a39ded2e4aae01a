# SPDX-License-Identifier: Apache-2.0
"""McNemar's test and Holm's correction, against statsmodels and published numbers."""

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar as reference
from statsmodels.stats.multitest import multipletests

from mser_llm.evaluation.predictions import Predictions, PredictionsError
from mser_llm.evaluation.statistics.multiple import holm
from mser_llm.evaluation.statistics.paired import mcnemar


def systems(both, only_first, only_second, neither) -> tuple[Predictions, Predictions]:
    """Two systems with so many clips right; the second has its clips in another order."""
    first = ["sad"] * (both + only_first) + ["happy"] * (only_second + neither)
    second = ["sad"] * both + ["happy"] * only_first + ["sad"] * only_second + ["happy"] * neither
    ids = [str(number) for number in range(len(first))]
    made = [Predictions(("happy", "sad"), ["x"] * len(ids), ids, ["sad"] * len(ids), one) for one in (first, second)]
    return made[0], made[1].subset(np.random.default_rng(0).permutation(len(ids)))


@pytest.mark.parametrize("table", [(9, 3, 12, 4), (0, 1, 7, 12), (50, 30, 30, 1), (5, 0, 9, 0), (100, 61, 40, 10)])
def test_it_is_that_of_statsmodels(table):
    both, only_first, only_second, neither = table
    made = mcnemar(*systems(*table))
    counts = [[both, only_first], [only_second, neither]]
    assert (made["only_first"], made["only_second"], made["n"]) == (only_first, only_second, sum(table))
    assert made["exact"] == pytest.approx(reference(counts, exact=True).pvalue)
    corrected = reference(counts, exact=False, correction=True)
    if only_first != only_second:
        assert made["chi2"] == pytest.approx(corrected.statistic)
        assert made["corrected"] == pytest.approx(corrected.pvalue)


def test_it_gives_the_published_numbers():
    """Fagerland et al. 2013, Table 1, airway hyper-responsiveness: exact 0.0703, mid-p 0.0391, corrected 0.0771."""
    made = mcnemar(*systems(1, 1, 7, 12))
    assert made["exact"] == pytest.approx(0.0703, abs=5e-5)
    assert made["mid_p"] == pytest.approx(0.0391, abs=5e-5)
    assert made["corrected"] == pytest.approx(0.0771, abs=5e-5)


def test_systems_that_are_right_together_do_not_differ():
    made = mcnemar(*systems(5, 0, 0, 3))
    assert made["exact"] == made["mid_p"] == made["corrected"] == 1
    assert mcnemar(*systems(5, 4, 4, 3))["exact"] == 1


def test_other_clips_cannot_be_paired():
    first, second = systems(2, 0, 0, 2)
    with pytest.raises(PredictionsError, match="share no clip"):
        mcnemar(first.subset([True, True, False, False]), second.subset([word == "happy" for word in second.answers]))


@pytest.mark.parametrize("size", [0, 1, 2, 9])
def test_holm_is_that_of_statsmodels(size):
    p_values = np.random.default_rng(size).random(size) ** 3
    expected = multipletests(p_values, method="holm")[1] if size else []
    assert holm(p_values) == pytest.approx(list(expected))


def test_holm_worked_by_hand():
    assert holm([0.04, 0.01, 0.03, 0.03]) == pytest.approx([0.09, 0.04, 0.09, 0.09])
    assert holm([0.6, 0.9]) == [1, 1]


@pytest.mark.parametrize("p_values", [[0.5, 1.1], [-0.1], [float("nan")]])
def test_what_is_no_p_is_refused(p_values):
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm(p_values)
