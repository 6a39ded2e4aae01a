# SPDX-License-Identifier: Apache-2.0
"""Select the test clips of a protocol and describe them for the results."""

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
        protocol: the protocol.
        fold: the requested fold; None for all.
        rows: test rows by corpus, or by `CORPUS:FOLD` for several folds. They include rows outside the labels, which
            `evaluate_corpora` counts, but no clips outside the duration limits.
        found: the number of labeled test clips by corpus, to compare with `protocol.expected`.
        left_out: the number of those outside the duration limits, by reason.
    """

    protocol: Protocol
    fold: str | None
    rows: dict[str, list[Row]]
    found: dict[str, int]
    left_out: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-ready values for `results.json`."""
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

    def fold_statistics(self, metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]] | None:
        """Compute the mean and standard deviation of each metric over folds; None for a single fold.

        Args:
            metrics: of each name of `rows`, from `emotion_metrics`.
        """
        if len(self.rows) == 1 or not all(":" in name for name in self.rows):
            return None
        return {
            metric: {
                "mean": statistics.mean(own[metric] for own in metrics.values()),
                "std": statistics.stdev(own[metric] for own in metrics.values()),
            }
            for metric in METRIC_NAMES
        }


def plan_evaluation(protocol: Protocol, rows: Sequence[Row], fold: str | None = None) -> EvaluationPlan:
    """Select the test rows of a protocol.

    Args:
        protocol: the protocol.
        rows: of the corpora that it tests.
        fold: name or number of a fold, for a model trained on the others; None selects the test clips of all folds.

    Raises:
        ProtocolError: rows of another corpus, rows that cannot be split, or an unknown fold.
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
