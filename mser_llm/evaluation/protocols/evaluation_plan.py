# SPDX-License-Identifier: Apache-2.0
"""A trained model by a protocol: what is to be measured, whether training heard it, what the result says of both."""

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mser_llm.evaluation.protocols.folds import resolve_fold
from mser_llm.evaluation.protocols.protocol import Protocol
from mser_llm.evaluation.tables import METRIC_NAMES


Row = Mapping[str, Any]


@dataclass(frozen=True)
class EvaluationPlan:
    """The test clips of a protocol.

    Attributes:
        protocol: the test.
        fold: the one fold that was asked for; None for all.
        rows: name to test rows: a corpus, or `CORPUS:FOLD` where there are several folds. Rows outside the words are
            among them, for `evaluate_corpora` to count; clips outside the limits of length are not.
        found: test clips of the words by corpus, to stand beside `protocol.expected`.
        left_out: those of them that are outside the limits of length, by reason.
    """

    protocol: Protocol
    fold: str | None
    rows: dict[str, list[Row]]
    found: dict[str, int]
    left_out: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, for `results.json`."""
        protocol = self.protocol
        return {
            "name": protocol.name,
            "title": protocol.title,
            "source": protocol.source,
            "split": str(protocol.split),
            "fold": self.fold,
            "ours": protocol.assumption,
            "seconds": [protocol.min_seconds, protocol.max_seconds],
            "expected": dict(protocol.expected),
            "found": self.found,
            "left_out": self.left_out,
            "notes": list(protocol.notes),
            "published": [asdict(one) for one in protocol.published],
        }

    def fold_statistics(self, figures: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]] | None:
        """Mean and standard deviation of each figure over the folds; None where only one was measured.

        Args:
            figures: of each name of `rows`, as `emotion_metrics` gives them.
        """
        if len(self.rows) == 1 or not all(":" in name for name in self.rows):
            return None
        return {
            metric: {
                "mean": statistics.mean(own[metric] for own in figures.values()),
                "std": statistics.stdev(own[metric] for own in figures.values()),
            }
            for metric in METRIC_NAMES
        }


def plan_evaluation(protocol: Protocol, rows: Sequence[Row], fold: str | None = None) -> EvaluationPlan:
    """What a protocol tests among rows.

    Args:
        protocol: the test.
        rows: of corpora that it tests.
        fold: the name or number of one fold, for a model that was trained on the others; None measures one model on
            the test clips of all.

    Raises:
        ProtocolError: rows of another corpus or that the split cannot divide, or no such fold.
    """
    folds = protocol.divide(rows)
    if fold is not None:
        fold = resolve_fold(protocol.name, [one.name for one in folds], fold)
    chosen = [one for one in folds if fold in (None, one.name)]
    named: dict[str, list[Row]] = {}
    left_out: Counter[str] = Counter()
    for one in chosen:
        kept, reasons = protocol.usable(protocol.rows_with_labels(one.test))
        left_out.update(reasons)
        others = [row for row in one.test if protocol.labels.map(row["emotion"]) is None]
        for row in [*kept, *others]:
            name = row["corpus"] if len(chosen) == 1 else f"{row['corpus']}:{one.name}"
            named.setdefault(name, []).append(row)
    found = protocol.found(row for one in chosen for row in one.test)
    return EvaluationPlan(protocol, fold, named, found, dict(left_out))
