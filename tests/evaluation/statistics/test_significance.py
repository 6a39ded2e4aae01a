# SPDX-License-Identifier: Apache-2.0
"""McNemar's test and Holm's correction against published numbers."""

import numpy as np
import pytest

from mser_llm.evaluation.predictions import Predictions
from mser_llm.evaluation.statistics.significance import holm_correction, mcnemar


def systems(both, only_first, only_second, neither) -> tuple[Predictions, Predictions]:
    """Create two systems with these counts of correct clips; the second has its clips in another order."""
    first = ["sad"] * (both + only_first) + ["happy"] * (only_second + neither)
    second = ["sad"] * both + ["happy"] * only_first + ["sad"] * only_second + ["happy"] * neither
    ids = [str(number) for number in range(len(first))]
    result = [Predictions(("happy", "sad"), ["x"] * len(ids), ids, ["sad"] * len(ids), one) for one in (first, second)]
    return result[0], result[1].subset(np.random.default_rng(0).permutation(len(ids)))


def test_mcnemar_matches_published_example():
    """Fagerland et al. 2013, Table 1, airway hyper-responsiveness: exact 0.0703, mid-p 0.0391, corrected 0.0771."""
    result = mcnemar(*systems(1, 1, 7, 12))
    assert [result[key] for key in ("exact", "mid_p", "corrected")] == pytest.approx(
        [0.0703, 0.0391, 0.0771], abs=5e-5
    )
    result = mcnemar(*systems(5, 0, 0, 3))
    assert result["exact"] == result["mid_p"] == result["corrected"] == 1
    equal = mcnemar(*systems(5, 4, 4, 3))
    assert (equal["only_first"], equal["only_second"], equal["n"]) == (4, 4, 16)
    assert [equal[key] for key in ("exact", "mid_p", "chi2")] == pytest.approx([1, 1 - 70 / 512, 1 / 8])


def test_holm_correction_matches_manual_examples():
    assert holm_correction([0.04, 0.01, 0.03, 0.03]) == pytest.approx([0.09, 0.04, 0.09, 0.09])
    assert holm_correction([0.6, 0.9]) == [1, 1]
    assert holm_correction([]) == []
