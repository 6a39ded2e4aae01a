# SPDX-License-Identifier: Apache-2.0
"""Two things measured in turns, so that whatever else the machine does falls on both."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tqdm.auto import tqdm


Work = Callable[[], Any]


def alternate(
    works: Mapping[str, Work], rounds: int, told: str = "Measuring", warm_up: bool = True
) -> dict[str, list[float]]:
    """
    Seconds of each work in each round. Within a round every work runs once, in turns.

    Args:
        works: by name.
        rounds: that are counted.
        told: on the bar.
        warm_up: whether one more round runs before the first; works of many seconds do without.
    """
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for number in tqdm(range(rounds + warm_up), desc=told, unit="round", leave=False):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            if number >= warm_up:
                seconds[name].append(time.perf_counter() - start)
    return seconds


@dataclass(frozen=True)
class Comparison:
    """
    One line of the benchmark.

    Attributes:
        name: what is compared.
        ours, other: the figure of each round.
        unit: of both.
        better: "more" of a speed, whose ratio is ours / other; "less" of a cost, whose ratio is other / ours; "share"
            where both sides are our own, a part beside a whole or more beside less, whose ratio is ours / other.
        target: what the ratio has to be, as in ">= 8"; empty where nothing is asked.
        facts: what else belongs to the figure, for the details.
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
    def figures(self) -> dict[str, Any]:
        """Name, the medians of both sides, their ratio, unit: an entry of `bench.json`."""
        ours, other = statistics.median(self.ours), statistics.median(self.other)
        return {
            "name": self.name,
            "ours": ours,
            "other": other,
            "ratio": self.ratio_of(ours, other),
            "unit": self.unit,
        }

    @property
    def ratio_of_each_round(self) -> list[float]:
        return [self.ratio_of(ours, other) for ours, other in zip(self.ours, self.other, strict=True)]

    @property
    def met(self) -> bool | None:
        """Whether the ratio is what it has to be; None where nothing is asked."""
        if not self.target:
            return None
        sign, bound = self.target.split()
        ratio = self.figures["ratio"]
        return ratio >= float(bound) if sign == ">=" else ratio <= float(bound)


def clips_per_second(
    name: str, batch_size: int, ours: Sequence[float], other: Sequence[float], target: str = ""
) -> Comparison:
    """A comparison of speeds from the seconds that each took for a batch of clips."""
    return Comparison(
        name,
        [batch_size / seconds for seconds in ours],
        [batch_size / seconds for seconds in other],
        "clips/s",
        "more",
        target,
    )


__all__ = ["Comparison", "Work", "alternate", "clips_per_second"]
