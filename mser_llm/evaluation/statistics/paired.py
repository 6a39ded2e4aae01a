# SPDX-License-Identifier: Apache-2.0
"""McNemar's test: of the clips that only one of two systems got right, are they half and half?"""

from typing import Any

import numpy as np
from scipy import stats

from mser_llm.evaluation.predictions import Predictions


def mcnemar(first: Predictions, second: Predictions) -> dict[str, Any]:
    """
    McNemar's test on the clips that two systems share.

    It takes clips to be independent of one another, which clips of one speaker are not, and it is about WA; `differ`
    knows both speakers and UA. It is here because the field reports it.

    Returns:
        `only_first` and `only_second`, the clips that one alone got right, `n` clips, and two-sided p-values: `exact`
        (binomial), `mid_p` (Fagerland, Lydersen and Laake 2013, BMC Medical Research Methodology 13:91, who prefer it:
        the exact test is too cautious), and `corrected`, of chi squared with continuity correction (`chi2`).

    Raises:
        PredictionsError: as for `Predictions.align`.
    """
    first, second = first.align(second)
    right = [
        np.array([answer == truth for answer, truth in zip(one.answers, one.truths, strict=True)])
        for one in (first, second)
    ]
    only_first, only_second = int((right[0] & ~right[1]).sum()), int((~right[0] & right[1]).sum())
    discordant, fewer = only_first + only_second, min(only_first, only_second)
    exact = min(1.0, 2 * float(stats.binom.cdf(fewer, discordant, 0.5)))
    # Half of what was observed counts as more extreme, on both sides, or on the one where both are the same.
    mid_p = 1.0
    if only_first != only_second:
        mid_p = 2 * float(stats.binom.cdf(fewer, discordant, 0.5) - 0.5 * stats.binom.pmf(fewer, discordant, 0.5))
    elif discordant:
        mid_p = 1 - 0.5 * float(stats.binom.pmf(fewer, discordant, 0.5))
    chi2 = (abs(only_first - only_second) - 1) ** 2 / discordant if discordant else 0.0
    return {
        "only_first": only_first,
        "only_second": only_second,
        "n": len(first),
        "exact": exact,
        "mid_p": mid_p,
        "chi2": chi2,
        "corrected": float(stats.chi2.sf(chi2, 1)) if discordant else 1.0,
    }
