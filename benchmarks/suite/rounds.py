# SPDX-License-Identifier: Apache-2.0
"""Time several functions in turns, so that other load on the machine affects all of them."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tqdm.auto import tqdm


Work = Callable[[], Any]


def alternate(
    works: Mapping[str, Work], rounds: int, description: str = "Measuring", warm_up: bool = True
) -> dict[str, list[float]]:
    """Time each function in each round. Within a round every function runs once."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for number in tqdm(range(rounds + warm_up), desc=description, unit="round", leave=False):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            if number >= warm_up:
                seconds[name].append(time.perf_counter() - start)
    return seconds


@dataclass(frozen=True)
class Comparison:
    """
    One row of the benchmark.

    Attributes:
        name: what is compared.
        ours, other: measurement of each round.
        unit: of both.
        better: "more" for a speed, with ratio ours / other; "less" for a cost, with ratio other / ours; "share" where
            both sides are MSER (a part of a total, more against fewer), with ratio ours / other.
        target: condition on the ratio, such as ">= 8"; empty without a target.
        facts: further details for `bench_details.json`.
    """

    name: str
    ours: Sequence[float]
    other: Sequence[float]
    unit: str
    better: Literal["more", "less", "share"]
    target: str = ""
    facts: Mapping[str, Any] | None = None

    def ratio_of(self, ours: float, other: float) -> float:
        return other / ours if self.better == "less" else ours / other

    @property
    def summary(self) -> dict[str, Any]:
        """An entry of `bench.json`: name, medians of both sides, their ratio, unit."""
        ours, other = statistics.median(self.ours), statistics.median(self.other)
        return {
            "name": self.name,
            "ours": ours,
            "other": other,
            "ratio": self.ratio_of(ours, other),
            "unit": self.unit,
        }

    @property
    def ratios(self) -> list[float]:
        return [self.ratio_of(ours, other) for ours, other in zip(self.ours, self.other, strict=True)]

    @property
    def met(self) -> bool | None:
        """Whether the ratio meets the target; None without a target."""
        if not self.target:
            return None
        sign, bound = self.target.split()
        ratio = self.summary["ratio"]
        return ratio >= float(bound) if sign == ">=" else ratio <= float(bound)


def clips_per_second(
    name: str, batch_size: int, ours: Sequence[float], other: Sequence[float], target: str = ""
) -> Comparison:
    """Compare throughputs, from the seconds per batch of both sides."""
    return Comparison(
        name,
        [batch_size / seconds for seconds in ours],
        [batch_size / seconds for seconds in other],
        "clips/s",
        "more",
        target,
    )
