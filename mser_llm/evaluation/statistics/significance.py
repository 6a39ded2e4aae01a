# SPDX-License-Identifier: Apache-2.0
"""Test two systems with McNemar's test and correct p-values for multiple comparisons."""

from collections.abc import MutableMapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from mser_llm.evaluation.predictions import Predictions


def mcnemar(first: Predictions, second: Predictions) -> dict[str, Any]:
    """
    Run McNemar's test on the clips that two systems share.

    The test treats clips as independent, which clips of one speaker are not, and it concerns WA only. It is reported
    because papers report it; `paired_difference` accounts for speakers and covers every metric.

    Returns:
        `only_first` and `only_second`, the clips that only one system got right; `n` clips; and two-sided p-values:
        `exact` (binomial), `mid_p` (Fagerland, Lydersen and Laake 2013, BMC Medical Research Methodology 13:91, who
        recommend it because the exact test is too conservative), and `corrected`, from chi squared with continuity
        correction (`chi2`).

    Raises:
        PredictionsError: as in `Predictions.align`.
    """
    # statsmodels takes 1.5 s to import.
    from statsmodels.stats.contingency_tables import mcnemar as mcnemar_test

    first, second = first.align(second)
    right = [np.array(one.predicted) == np.array(one.truths) for one in (first, second)]
    only_first, only_second = int((right[0] & ~right[1]).sum()), int((~right[0] & right[1]).sum())
    result = {"only_first": only_first, "only_second": only_second, "n": len(first)}
    discordant, fewer = only_first + only_second, min(only_first, only_second)
    if not discordant:
        return {**result, "exact": 1.0, "mid_p": 1.0, "chi2": 0.0, "corrected": 1.0}
    table = [[0, only_first], [only_second, 0]]
    exact, chi2 = mcnemar_test(table, exact=True), mcnemar_test(table, exact=False, correction=True)
    # Half of the observed count is treated as more extreme, once if both counts are equal and twice otherwise.
    twice_or_once = 1.0 if only_first != only_second else 0.5
    return {
        **result,
        "exact": float(exact.pvalue),
        "mid_p": float(exact.pvalue - twice_or_once * stats.binom.pmf(fewer, discordant, 0.5)),
        "chi2": float(chi2.statistic),
        "corrected": float(chi2.pvalue),
    }


def holm_correction(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for their number (Holm 1979, Scandinavian Journal of Statistics 6(2)), in the given order."""
    from statsmodels.stats.multitest import multipletests

    return multipletests(p_values, method="holm")[1].tolist() if len(p_values) else []


def add_holm(differences: Sequence[MutableMapping[str, Any]]) -> None:
    """Add `p_holm` to each result that has a `p` other than None."""
    tested = [one for one in differences if one["p"] is not None]
    for one, p in zip(tested, holm_correction([one["p"] for one in tested]), strict=True):
        one["p_holm"] = p
