# SPDX-License-Identifier: Apache-2.0
"""Holm's correction: of many comparisons, that one comes out by chance becomes more likely with each."""

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float]) -> list[float]:
    """
    P-values adjusted so that all that stay below 0.05 are together wrong with a chance of at most 0.05.

    Holm, 1979, Scandinavian Journal of Statistics 6(2): the smallest of m is multiplied by m, the next by m - 1, and
    so on, and none becomes smaller than one before it. The tests need not be independent.

    Returns:
        in the given order, each at most 1.

    Raises:
        ValueError: a value outside [0, 1].
    """
    values = np.asarray(p_values, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"p-values lie between 0 and 1, got {[float(value) for value in values]}")
    order = np.argsort(values, kind="stable")
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)))
    return adjusted.tolist()
