# SPDX-License-Identifier: Apache-2.0
"""Check the ranges of numeric arguments before anything is loaded."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Bounds(NamedTuple):
    """A range of finite numbers: its description, and a function that returns whether a finite number is in it."""

    text: str
    contains: Callable[[float], bool]


def between(low: float, high: float) -> Bounds:
    """Return the range of the numbers from `low` to `high`."""
    return Bounds(f"a number from {low:g} to {high}", lambda value: low <= value <= high)


FINITE = Bounds("a finite number", math.isfinite)
POSITIVE = Bounds("a number above 0", lambda value: value > 0)
NOT_NEGATIVE = Bounds("at least 0", lambda value: value >= 0)
AT_LEAST_ONE = Bounds("at least 1", lambda value: value >= 1)
SHARE = Bounds("a number from 0 to below 1", lambda value: 0 <= value < 1)
FRACTION, COSINE = between(0, 1), between(-1, 1)
POSITIVE_FRACTION = Bounds("a number above 0 and at most 1", lambda value: 0 < value <= 1)
# NumPy's range, the narrowest of the generators that are seeded.
SEED = between(0, 2**32 - 1)


def check_numbers(values: Mapping[str, Any], bounds: Mapping[str, Bounds]) -> None:
    """
    Check the numbers among named values, lists of numbers included; other values are ignored.

    Args:
        values: by name.
        bounds: by name. Other numbers only have to be finite, and seeds have to be seeds.

    Raises:
        ValueError: names the value and the range.
    """
    for name, value in values.items():
        allowed = bounds.get(name, SEED if name == "seeds" or name.endswith("seed") else FINITE)
        for one in value if isinstance(value, (list, tuple)) else [value]:
            number = isinstance(one, (int, float)) and not isinstance(one, bool)
            if number and not (math.isfinite(one) and allowed.contains(one)):
                raise ValueError(f"{name} is {one}; pass {allowed.text}")
