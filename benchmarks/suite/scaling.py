# SPDX-License-Identifier: Apache-2.0
"""Cost against length of audio, number of candidate words, batch and number of clips: slopes, and where they bend."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.suite.rounds import Comparison, Work, alternate
from benchmarks.suite.sizes import WORDS, BenchmarkSizes
from benchmarks.suite.systems import OwnModel, noise
from mser_llm.inference.recognition import recognize
from mser_llm.inference.scoring_options import ScoringOptions


# A point so far above the line through all the points before it is no longer on it.
BEND = 0.2


@dataclass(frozen=True)
class Curve:
    """
    Attributes:
        name: of what is varied.
        unit: of `at`.
        at: the values.
        seconds: medians for the batch or the clips.
        rounds: of each value.
    """

    name: str
    unit: str
    at: tuple[float, ...]
    seconds: tuple[float, ...]
    rounds: tuple[tuple[float, ...], ...]

    @property
    def slope(self) -> float:
        """Seconds for each added unit, by least squares over the points up to the bend."""
        last = self.at.index(self.linear_until) + 1
        return float(np.polyfit(self.at[:last], self.seconds[:last], 1)[0])

    @property
    def linear_until(self) -> float:
        """The last value before a point that lies more than `BEND` off the line through the points before it."""
        for count in range(2, len(self.at)):
            line = np.polyfit(self.at[:count], self.seconds[:count], 1)
            expected = float(np.polyval(line, self.at[count]))
            if abs(self.seconds[count] - expected) > BEND * expected:
                return self.at[count - 1]
        return self.at[-1]

    @property
    def comparison(self) -> Comparison:
        """What the last unit costs beside what a unit costs on average, which is 1 for a straight line through 0."""
        last = [(b - a) / (self.at[-1] - self.at[-2]) for a, b in zip(self.rounds[-2], self.rounds[-1], strict=True)]
        average = [seconds / self.at[-1] for seconds in self.rounds[-1]]
        return Comparison(
            f"scaling with {self.name}, the last {self.unit} beside the average",
            [1e3 * value for value in last],
            [1e3 * value for value in average],
            f"ms a {self.unit}",
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
    """One after another: length of audio, candidate words, batch, number of clips."""
    model, batch_size, seconds = own.model, sizes.batch_size, sizes.target_seconds
    words = own.candidates(7)

    def scored(length: float, batch: int, candidates: Sequence[Sequence[int]]) -> Work:
        inputs = own.inputs(length, batch)
        return lambda: model.score_emotions(**inputs, candidate_ids=candidates)

    def recognised(count: float) -> Work:
        waveforms = noise(seconds, int(count))
        return lambda: list(
            recognize(model, own.processor, waveforms, WORDS[:7], ScoringOptions(batch_size=batch_size))
        )

    # Half the batch for lengths: ten times the seconds need ten times the memory.
    half = max(batch_size // 2, 1)
    yield _curve(sizes, "seconds of audio", "second", sizes.scaling_seconds, lambda at: scored(at, half, words))
    inputs = own.inputs(seconds, batch_size)

    def several(count: float) -> Work:
        candidates = own.candidates(int(count))
        return lambda: model.score_emotions(**inputs, candidate_ids=candidates)

    yield _curve(sizes, "candidate words", "word", sizes.scaling_words, several)
    yield _curve(sizes, "the batch", "clip", sizes.scaling_batches, lambda at: scored(seconds, int(at), words))
    yield _curve(sizes, "the number of clips", "clip", sizes.scaling_clips, recognised)


def _curve(
    sizes: BenchmarkSizes, name: str, unit: str, values: Sequence[float], work: Callable[[float], Work]
) -> Curve:
    taken = alternate({str(at): work(at) for at in values}, sizes.slow_rounds, f"Scaling with {name}")
    rounds = tuple(tuple(taken[str(at)]) for at in values)
    medians = tuple(float(np.median(each)) for each in rounds)
    return Curve(name, unit, tuple(map(float, values)), medians, rounds)


__all__ = ["Curve", "curves"]
