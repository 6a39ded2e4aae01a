# SPDX-License-Identifier: Apache-2.0
"""Measure cost against audio length, number of labels, batch size and number of clips: slopes and bends."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.suite.rounds import Comparison, Work, alternate
from benchmarks.suite.sizes import WORDS, BenchmarkSizes
from benchmarks.suite.systems import OwnModel, noise
from mser_llm.inference.recognition import recognize
from mser_llm.inference.scoring_options import ScoringOptions


# Relative distance from the line through all points before it, from which a point counts as a bend.
BEND = 0.2


@dataclass(frozen=True)
class Curve:
    """
    Attributes:
        name: what is varied.
        unit: of `at`.
        at: the values.
        seconds: median for the batch or the clips.
        rounds: seconds of each round, for each value.
    """

    name: str
    unit: str
    at: tuple[float, ...]
    seconds: tuple[float, ...]
    rounds: tuple[tuple[float, ...], ...]

    @property
    def slope(self) -> float:
        """Seconds per added unit, by least squares over the points before the bend."""
        last = self.at.index(self.linear_until) + 1
        return float(np.polyfit(self.at[:last], self.seconds[:last], 1)[0])

    @property
    def linear_until(self) -> float:
        """The last value before a point more than `BEND` off the line through the points before it."""
        for count in range(2, len(self.at)):
            line = np.polyfit(self.at[:count], self.seconds[:count], 1)
            expected = float(np.polyval(line, self.at[count]))
            if abs(self.seconds[count] - expected) > BEND * expected:
                return self.at[count - 1]
        return self.at[-1]

    @property
    def comparison(self) -> Comparison:
        """Cost of the last unit compared with the average unit; 1 for a straight line through 0."""
        last = [(b - a) / (self.at[-1] - self.at[-2]) for a, b in zip(self.rounds[-2], self.rounds[-1], strict=True)]
        average = [seconds / self.at[-1] for seconds in self.rounds[-1]]
        return Comparison(
            f"scaling with {self.name}, last {self.unit} compared with the average",
            [1e3 * value for value in last],
            [1e3 * value for value in average],
            f"ms per {self.unit}",
            "share",
            facts={
                "at": self.at,
                "seconds": self.seconds,
                "slope_seconds_per_unit": self.slope,
                "linear_until": self.linear_until,
            },
        )


@torch.inference_mode()
def curves(sizes: BenchmarkSizes, own: OwnModel) -> Iterator[Curve]:
    """Measure audio length, candidate labels, batch size and number of clips."""
    model, batch_size, seconds = own.model, sizes.batch_size, sizes.target_seconds
    words = own.candidates(7)

    def scored(length: float, batch: int, candidates: Sequence[Sequence[int]]) -> Work:
        inputs = own.inputs(length, batch)
        return lambda: model.score_emotions(**inputs, candidate_ids=candidates)

    def recognized(count: float) -> Work:
        waveforms = noise(seconds, int(count))
        return lambda: list(
            recognize(model, own.processor, waveforms, WORDS[:7], ScoringOptions(batch_size=batch_size))
        )

    # Half the batch for long clips, which need more memory.
    half = max(batch_size // 2, 1)
    yield _curve(sizes, "seconds of audio", "second", sizes.scaling_seconds, lambda at: scored(at, half, words))
    inputs = own.inputs(seconds, batch_size)

    def several(count: float) -> Work:
        candidates = own.candidates(int(count))
        return lambda: model.score_emotions(**inputs, candidate_ids=candidates)

    yield _curve(sizes, "candidate labels", "label", sizes.scaling_words, several)
    yield _curve(sizes, "batch size", "clip", sizes.scaling_batches, lambda at: scored(seconds, int(at), words))
    yield _curve(sizes, "number of clips", "clip", sizes.scaling_clips, recognized)


def _curve(
    sizes: BenchmarkSizes, name: str, unit: str, values: Sequence[float], work: Callable[[float], Work]
) -> Curve:
    taken = alternate({str(at): work(at) for at in values}, sizes.slow_rounds, f"Scaling with {name}")
    rounds = tuple(tuple(taken[str(at)]) for at in values)
    medians = tuple(float(np.median(each)) for each in rounds)
    return Curve(name, unit, tuple(map(float, values)), medians, rounds)
