# SPDX-License-Identifier: Apache-2.0
"""A trained model by a protocol: what is to be measured, whether training heard it, what the result says of both."""

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from typing import Any

from mser_llm.evaluation.protocols.comparison import COLUMNS
from mser_llm.evaluation.protocols.folds import find_fold
from mser_llm.evaluation.protocols.leaks import LeakReport, check_leak
from mser_llm.evaluation.protocols.protocol import Protocol
from mser_llm.evaluation.protocols.training_record import RESULTS, read_training_record


Row = Mapping[str, Any]


@dataclass(frozen=True)
class Measurement:
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
            "ours": protocol.ours,
            "seconds": [protocol.min_seconds, protocol.max_seconds],
            "expected": dict(protocol.expected),
            "found": self.found,
            "left_out": self.left_out,
            "notes": list(protocol.notes),
            "published": [asdict(one) for one in protocol.published],
        }

    def over_folds(self, figures: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]] | None:
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
            for metric in COLUMNS
        }


def measurement(protocol: Protocol, rows: Sequence[Row], fold: str | None = None) -> Measurement:
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
        fold = find_fold(protocol.name, [one.name for one in folds], fold)
    chosen = [one for one in folds if fold in (None, one.name)]
    named: dict[str, list[Row]] = {}
    left_out: Counter[str] = Counter()
    for one in chosen:
        kept, reasons = protocol.usable(protocol.of_the_words(one.test))
        left_out.update(reasons)
        others = [row for row in one.test if protocol.words.map(row["emotion"]) is None]
        for row in [*kept, *others]:
            name = row["corpus"] if len(chosen) == 1 else f"{row['corpus']}:{one.name}"
            named.setdefault(name, []).append(row)
    found = protocol.found(row for one in chosen for row in one.test)
    return Measurement(protocol, fold, named, found, dict(left_out))


def check_model(
    model: str | PathLike, test: Sequence[Row], protocol: Protocol | None = None, *, allow: bool = False
) -> LeakReport:
    """Whether a model was trained on what it is to be tested on, by the record beside it.

    Args:
        model: folder, or an id on the Hub, where no record lies: the report then says that nothing was checked.
        test: rows.
        protocol: whose further conditions hold, such as a corpus or a language never heard.
        allow: as in `check_leak`.

    Raises:
        SpeakerLeakError: it was.
        TrainingRecordError: the record is damaged.
    """
    record = read_training_record(model)
    if record is None:
        said = f"there is no {RESULTS} beside {model}, so whether its training heard what is tested cannot be checked"
        return LeakReport(tested=len(test), unchecked=(said,))
    if protocol is None:
        return check_leak(record, test, allow=allow)
    return protocol.check(record, test, allow=allow)
