# SPDX-License-Identifier: Apache-2.0
"""The content of a table: our lines and the published ones, and the differences between systems."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from mser_llm.evaluation.predictions import Predictions
from mser_llm.evaluation.protocols import Published
from mser_llm.evaluation.statistics.bootstrap import paired_difference, summarize_seeds
from mser_llm.evaluation.statistics.significance import holm_correction
from mser_llm.reproduction.formatting import format_points, format_test
from mser_llm.reproduction.published import (
    BACKBONES,
    LOW_RESOURCE,
    LOW_RESOURCE_BACKBONE,
    LOW_RESOURCE_TABLE_1,
    LOW_RESOURCE_TABLE_1_SPEECH,
    METRICS,
    MSER,
    published_rows,
)
from mser_llm.reproduction.systems import Effect


OURS, PAPER, CITED = "ours", "paper", "cited"
LEVEL = 0.05


@dataclass(frozen=True)
class MetricValue:
    """
    A metric, from 0 to 1.

    Attributes:
        mean: over seeds; a published value as printed.
        std: standard deviation over seeds; None for one run, or if none was published.
        low, high: 95 % interval of the mean over speakers and seeds; None if there is none.
    """

    mean: float
    std: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Line:
    """
    A system, evaluated by us or published.

    Attributes:
        system: its name in the paper.
        by: `OURS`, `PAPER`, or `CITED` by the paper.
        backbones, trained_on, tested_on: as text, so that the table shows what differs between two lines.
        classes: number of candidate labels.
        runs: number of seeds; None if the publication does not state it.
        figures: by metric; metrics that were not published are missing.
        place: paper and table of published values.
        leak: what training and test share, if a leak was allowed.
        further: text of additional columns, by column heading.
    """

    system: str
    by: str
    backbones: str
    trained_on: str
    tested_on: str
    classes: int
    runs: int | None
    figures: Mapping[str, MetricValue]
    place: str = ""
    leak: str = ""
    further: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Difference:
    """
    The metric of a system with a choice minus that of the same system without it, on the same clips.

    Attributes:
        choice, without, having: the comparison.
        metric: its name.
        difference, low, high, p: of the means over seeds, with the 95 % interval and the two-sided p over speakers and
            seeds; the last three are None for fewer than two speakers.
        p_holm: p corrected for all differences of the metric in this table.
        published: the difference of the paper's two rows; None if it has none.
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
    """A table with its notes."""

    title: str
    lines: Sequence[Line]
    metrics: Sequence[str] = METRICS
    differences: Sequence[Difference] = ()
    notes: Sequence[str] = ()
    configuration: Mapping[str, Any] = field(default_factory=dict)

    @property
    def further(self) -> list[str]:
        """The headings of `Line.further`, in the order of the lines."""
        return list(dict.fromkeys(name for line in self.lines for name in line.further))


def measured_line(
    system: str,
    runs: Sequence[Predictions],
    backbones: str,
    trained_on: str,
    metrics: Sequence[str] = METRICS,
    leak: str = "",
    further: Mapping[str, str] | None = None,
) -> Line:
    """Build a line from our predictions, one per seed."""
    figures = {
        metric: MetricValue(found["mean"], found["std"], *(found["interval"] or ()))
        for metric, found in summarize_seeds(runs, metrics).items()
    }
    tested_on, classes = format_test(runs[0]), len(runs[0].labels)
    ours = (system, OURS, backbones, trained_on, tested_on, classes, len(runs), figures)
    return Line(*ours, leak=leak, further=further or {})


def published_line(
    numbers: Sequence[Published],
    tested_on: str,
    classes: int,
    trained_on: str,
    by: str = PAPER,
    backbones: str = BACKBONES,
    paper: str = MSER,
) -> Line:
    """Build a line from published numbers: the paper's own, or cited ones."""
    figures = {number.metric: MetricValue(number.value, number.std) for number in numbers}
    place = f"{paper}, {numbers[0].where}"
    return Line(numbers[0].system, by, backbones, trained_on, tested_on, classes, None, figures, place)


def low_resource_lines(corpus: str) -> dict[str, Line]:
    """Build the lines of the low-resource paper's Table 1 for a corpus, by system; none for other corpora."""
    rows = published_rows(f"{corpus}-4", "Table 1") if corpus in LOW_RESOURCE_TABLE_1 else {}
    return {
        system: published_line(
            numbers,
            corpus,
            4,
            LOW_RESOURCE_TABLE_1_SPEECH[system],
            backbones=LOW_RESOURCE_BACKBONE,
            paper=LOW_RESOURCE,
        )
        for system, numbers in rows.items()
    }


def differences(
    effects: Sequence[Effect],
    runs: Mapping[str, Sequence[Predictions]],
    published: Mapping[str, Line],
    metrics: Sequence[str] = ("UA", "WA"),
) -> list[Difference]:
    """Compare the systems of each effect in each metric; Holm's correction is over the effects of one metric."""
    results = []
    for metric in metrics:
        found = [
            paired_difference(runs[effect.having], runs[effect.without], metric, matched=True) for effect in effects
        ]
        tested = [one["p"] for one in found if one["p"] is not None]
        corrected = iter(holm_correction(tested))
        for effect, one in zip(effects, found, strict=True):
            lines = [published[name] for name in (effect.having, effect.without) if name in published]
            paper = [line.figures[metric].mean for line in lines if metric in line.figures]
            results.append(
                Difference(
                    **asdict(effect),
                    metric=metric,
                    **{key: one[key] for key in ("difference", "low", "high", "p")},
                    p_holm=None if one["p"] is None else next(corrected),
                    published=round(paper[0] - paper[1], 4) if len(paper) == 2 else None,
                )
            )
    return results


def summarize_effects(found: Sequence[Difference], metrics: Sequence[str] = ("UA",)) -> list[str]:
    """Summarize each choice by metric: its smallest and largest difference, and which of them are significant."""
    choices = dict.fromkeys(one.choice for one in found)
    return [_summarize_effect(choice, metric, found) for metric in metrics for choice in choices]


def _summarize_effect(choice: str, metric: str, found: Sequence[Difference]) -> str:
    own = [one for one in found if (one.choice, one.metric) == (choice, metric)]
    low, high = min(one.difference for one in own), max(one.difference for one in own)
    significant = [one for one in own if one.p_holm is not None and one.p_holm < LEVEL]
    span = f"{format_points(low)}" if len(own) == 1 else f"{format_points(low)} to {format_points(high)}"
    text = f"{choice[0].upper()}{choice[1:]}: {span} points of {metric} over {len(own)} comparisons; "
    if not significant:
        return f"{text}none is significant after Holm's correction (p < {LEVEL:g})."
    named = ", ".join(f"{one.having} over {one.without} ({format_points(one.difference)})" for one in significant)
    return f"{text}{len(significant)} significant after Holm's correction (p < {LEVEL:g}): {named}."
