# SPDX-License-Identifier: Apache-2.0
"""A table of the paper with ours in it: the lines, what differs between them, and how sure a difference is."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from mser_llm.evaluation.predictions import Predictions
from mser_llm.evaluation.protocols import Published
from mser_llm.evaluation.statistics.bootstrap import paired_difference, summarize_seeds
from mser_llm.evaluation.statistics.significance import holm_correction
from mser_llm.reproduction.published import BACKBONES, METRICS, MSER
from mser_llm.reproduction.systems import Effect


OURS, PAPER, CITED = "ours", "paper", "cited"
LEVEL = 0.05


@dataclass(frozen=True)
class Figure:
    """A figure from 0 to 1.

    Attributes:
        mean: over seeds; a published figure as printed.
        std: standard deviation over seeds; None for one run, or where none was published.
        low, high: 95 % interval of the mean for other speakers and other seeds; None where there is none.
    """

    mean: float
    std: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Line:
    """A system, measured by us or published.

    Attributes:
        system: as the paper calls it.
        by: `OURS`, `PAPER`, or `CITED` by the paper.
        backbones, trained_on, tested_on: in words, so that what differs between two lines is read in the table.
        classes: number of candidate words.
        runs: seeds, or None where the publication does not say.
        figures: by metric; what was not published is missing.
        place: paper and table of what is published.
        leak: what training and test share, where a leak was allowed.
        further: what else a table says of its lines, by the head of its column.
    """

    system: str
    by: str
    backbones: str
    trained_on: str
    tested_on: str
    classes: int
    runs: int | None
    figures: Mapping[str, Figure]
    place: str = ""
    leak: str = ""
    further: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Difference:
    """A system with a choice less the same without it, on the same clips.

    Attributes:
        choice, without, having: the comparison.
        metric: what is compared.
        difference, low, high, p: of the means over seeds, 95 % interval and two-sided p for other speakers and seeds;
            the last three None for fewer than two speakers.
        p_holm: p corrected for all differences of the metric in this table.
        published: the difference of the paper's two rows; None where it has none.
    """

    choice: str
    without: str
    having: str
    metric: str
    difference: float
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None
    published: float | None


@dataclass(frozen=True)
class Table:
    """All that is written: `as_dict` is the JSON."""

    title: str
    lines: Sequence[Line]
    metrics: Sequence[str] = METRICS
    differences: Sequence[Difference] = ()
    notes: Sequence[str] = ()
    configuration: Mapping[str, Any] = field(default_factory=dict)

    @property
    def further(self) -> list[str]:
        """The columns of `Line.further`, in the order in which the lines bring them."""
        return list(dict.fromkeys(name for line in self.lines for name in line.further))

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def measured_line(
    system: str,
    runs: Sequence[Predictions],
    backbones: str,
    trained_on: str,
    tested_on: str,
    metrics: Sequence[str] = METRICS,
    leak: str = "",
    further: Mapping[str, str] | None = None,
) -> Line:
    """A line of ours from the predictions of each seed."""
    figures = {}
    for metric, found in summarize_seeds(runs, metrics).items():
        low, high = found["interval"] or (None, None)
        figures[metric] = Figure(found["mean"], found["std"], low, high)
    return Line(
        system,
        OURS,
        backbones,
        trained_on,
        tested_on,
        len(runs[0].labels),
        len(runs),
        figures,
        leak=leak,
        further=further or {},
    )


def published_line(
    numbers: Sequence[Published],
    tested_on: str,
    classes: int,
    trained_on: str,
    by: str = PAPER,
    backbones: str = BACKBONES,
    paper: str = MSER,
) -> Line:
    """A line that the paper prints: its own, or one that it cites."""
    figures = {number.metric: Figure(number.value, number.std) for number in numbers}
    place = f"{paper}, {numbers[0].where}"
    return Line(numbers[0].system, by, backbones, trained_on, tested_on, classes, None, figures, place)


def differences(
    effects: Sequence[Effect],
    runs: Mapping[str, Sequence[Predictions]],
    published: Mapping[str, Mapping[str, float]],
    metrics: Sequence[str] = ("UA", "WA"),
) -> list[Difference]:
    """Every effect in every metric; Holm's correction is over the effects of one metric.

    Args:
        effects: pairs of systems.
        runs: the predictions of each system, one for each seed.
        published: the paper's figures of each system, by metric.
        metrics: names of `emotion_metrics`.
    """
    made = []
    for metric in metrics:
        found = [
            paired_difference(runs[effect.having], runs[effect.without], metric, matched=True) for effect in effects
        ]
        tested = [one["p"] for one in found if one["p"] is not None]
        corrected = iter(holm_correction(tested))
        for effect, one in zip(effects, found, strict=True):
            paper = [published.get(name, {}).get(metric) for name in (effect.having, effect.without)]
            made.append(
                Difference(
                    effect.choice,
                    effect.without,
                    effect.having,
                    metric,
                    one["difference"],
                    one["low"],
                    one["high"],
                    one["p"],
                    None if one["p"] is None else next(corrected),
                    None if paper[0] is None or paper[1] is None else round(paper[0] - paper[1], 4),
                )
            )
    return made


def in_a_sentence(choice: str, metric: str, found: Sequence[Difference]) -> str:
    """What a choice did, in points of one metric: its smallest and largest difference, and whether any is certain."""
    own = [one for one in found if (one.choice, one.metric) == (choice, metric)]
    low, high = min(one.difference for one in own), max(one.difference for one in own)
    sure = [one for one in own if one.p_holm is not None and one.p_holm < LEVEL]
    said = f"{points(low)}" if len(own) == 1 else f"{points(low)} to {points(high)}"
    text = f"{choice[0].upper()}{choice[1:]}: {said} points of {metric} over {len(own)} comparisons; "
    if not sure:
        return f"{text}none stands out after Holm's correction (p < {LEVEL:g})."
    named = ", ".join(f"{one.having} over {one.without} ({points(one.difference)})" for one in sure)
    return f"{text}{len(sure)} of them stand out after Holm's correction (p < {LEVEL:g}): {named}."


def points(value: float) -> str:
    """A difference in percentage points, signed."""
    return with_minus(f"{100 * value:+.1f}")


def with_minus(number: str) -> str:
    """A number as it stands in all that `reproduce` prints: below 0 with the sign for minus, not with a hyphen."""
    return number.replace("-", "−")
