# SPDX-License-Identifier: Apache-2.0
"""Check the ranges of numeric arguments before anything is loaded."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Bounds:
    """
    An interval of finite numbers.

    Attributes:
        low, high: the ends.
        above, below: whether the lower and the upper end are excluded.
    """

    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    below: bool = False

    def __contains__(self, value: float) -> bool:
        if not math.isfinite(value):
            return False
        return (value > self.low if self.above else value >= self.low) and (
            value < self.high if self.below else value <= self.high
        )

    def __str__(self) -> str:
        if self.low == -math.inf:
            return "a finite number"
        if self.high == math.inf:
            return f"a number above {self.low:g}" if self.above else f"at least {self.low:g}"
        return f"a number from {self.low:g} to {'below ' if self.below else ''}{self.high}"


FINITE = Bounds()
POSITIVE = Bounds(0, above=True)
NOT_NEGATIVE = Bounds(0)
AT_LEAST_ONE = Bounds(1)
SHARE = Bounds(0, 1, below=True)
SEED = Bounds(0, 2**32 - 1)  # NumPy's range, the narrowest of the generators that are seeded


def check_numbers(arguments: Any, bounds: Mapping[str, Bounds]) -> None:
    """
    Check the numbers of a dataclass of arguments, as `check_values` does.

    Raises:
        ValueError: names the argument, its value and the range.
    """
    check_values({field.name: getattr(arguments, field.name) for field in fields(arguments)}, bounds)


def check_values(values: Mapping[str, Any], bounds: Mapping[str, Bounds]) -> None:
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
            if isinstance(one, (int, float)) and not isinstance(one, bool) and one not in allowed:
                raise ValueError(f"{name} is {one}; pass {allowed}")
