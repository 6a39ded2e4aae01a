# SPDX-License-Identifier: Apache-2.0
"""A protocol: the tested corpora and labels, the split, its evaluation, and published results."""

import io
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import soundfile
from tqdm.auto import tqdm

from mser_llm.data.corpora import CORPORA
from mser_llm.data.splits import SpeakerLeakError
from mser_llm.evaluation.protocols.folds import Fold, FullCorpus, LeaveLanguageOut, ProtocolError, Split, resolve_fold
from mser_llm.evaluation.protocols.leaks import LeakReport, check_leak, remove_leaks
from mser_llm.evaluation.protocols.training_record import TrainingRecord
from mser_llm.evaluation.tables import METRIC_NAMES, format_metric, format_table
from processing_mser.emotions_mser import LabelSet


Row = Mapping[str, Any]
MEASURED = "measured here"


@dataclass(frozen=True)
class Published:
    """One published number.

    Attributes:
        system: name in the paper.
        metric: key of `emotion_metrics`.
        value: a fraction with the published digits.
        where: table or section.
        std: published standard deviation over runs.
        group: a subset of the clips, such as `female`; None for all.
    """

    system: str
    metric: str
    value: float
    where: str
    std: float | None = None
    group: str | None = None


@dataclass(frozen=True)
class Protocol:
    """One protocol.

    Attributes:
        name: on the command line.
        title: description.
        source: paper and section.
        corpora: names as in `mser_llm.data.corpora.CORPORA`.
        labels: the candidate labels, with the merges of this protocol.
        split: the split into training and test.
        expected: number of labeled test clips by corpus, before the duration limits.
        min_seconds, max_seconds: duration limits, both or neither.
        assumption: our choice if the source does not specify the split; None if it does.
        notes: what readers of the results must know.
        published: results to compare with.
    """

    name: str
    title: str
    source: str
    corpora: tuple[str, ...]
    labels: LabelSet
    split: Split
    expected: Mapping[str, int] = field(hash=False)
    min_seconds: float | None = None
    max_seconds: float | None = None
    assumption: str | None = None
    notes: tuple[str, ...] = ()
    published: tuple[Published, ...] = ()

    @property
    def tested_corpora(self) -> tuple[str, ...]:
        """Corpora with test clips; the others are for training only."""
        if isinstance(self.split, LeaveLanguageOut):
            return tuple(name for name in self.corpora if CORPORA[name].language == self.split.language)
        return self.corpora

    def divide(self, rows: Sequence[Row]) -> list[Fold]:
        """Split all rows, ignoring labels, durations and leaks.

        Raises:
            ProtocolError: rows of another corpus, or rows that cannot be split.
        """
        others = sorted({row["corpus"] for row in rows} - set(self.corpora))
        if others or not rows:
            raise ProtocolError(
                self.name, f"does not use {', '.join(others) or 'an empty corpus'}", f"pass {', '.join(self.corpora)}"
            )
        return self.split.divide(rows)

    def usable(self, rows: Iterable[Row]) -> tuple[list[Row], dict[str, int]]:
        """Return the rows within the duration limits and the number of others by reason.

        Missing durations are read from file headers. Clips with unreadable headers are kept and reported when they
        are read.
        """
        rows = list(rows)
        if self.min_seconds is None or self.max_seconds is None:
            return rows, {}
        with ThreadPoolExecutor() as pool:
            found = pool.map(clip_seconds, rows)
            lengths = [*tqdm(found, total=len(rows), desc="Reading lengths", unit="clip", leave=False, disable=None)]
        kept, left_out = [], Counter[str]()
        for row, seconds in zip(rows, lengths, strict=True):
            if seconds is not None and seconds < self.min_seconds:
                left_out[f"shorter than {self.min_seconds:g} s"] += 1
            elif seconds is not None and seconds > self.max_seconds:
                left_out[f"longer than {self.max_seconds:g} s"] += 1
            else:
                kept.append(row)
        return kept, dict(sorted(left_out.items()))

    def rows_with_labels(self, rows: Iterable[Row]) -> list[Row]:
        """Return the rows whose emotion is in the label set."""
        return [row for row in rows if self.labels.map(row["emotion"]) is not None]

    def training_rows(self, rows: Iterable[Row], *, unlabelled: bool = False) -> list[Row]:
        """Return rows in the label set (all rows if `unlabelled`) within the duration limits."""
        return self.usable(rows if unlabelled else self.rows_with_labels(rows))[0]

    def folds(
        self,
        rows: Sequence[Row],
        training: Sequence[Row] = (),
        *,
        allow_leak: bool = False,
        unlabelled: bool = False,
        only: str | None = None,
    ) -> list[Fold]:
        """Build the training, validation and test rows of each fold.

        Args:
            rows: of the protocol's corpora.
            training: further training rows, such as M5SER. Each fold leaves out the recordings of its test and
                validation speakers and their translations.
            allow_leak: keep and mark folds whose training and test overlap.
            unlabelled: keep rows of `training` whose emotion is unknown or outside the label set.
            only: name of a single fold; by default all.

        Returns:
            folds with labeled rows within the duration limits (see `unlabelled`), each with its `leak`.

        Raises:
            ProtocolError: rows that cannot be split.
            SpeakerLeakError: training and test of a fold overlap.
        """
        chosen, _ = self.usable(self.rows_with_labels(rows))
        further = self.training_rows(training, unlabelled=unlabelled)
        human = [row for row in further if row.get("source_corpus") is None]
        translated = [row for row in further if row.get("source_corpus") is not None]
        folds = []
        for fold in self.divide(chosen):
            if only not in (None, fold.name):
                continue
            left = remove_leaks(translated, fold.test, fold.validation, speakers=not self.split.shares_speakers)
            train = (*fold.train, *human, *left)
            try:
                check_leak(train, fold.validation, allow=allow_leak)
                leak = self.check([*train, *fold.validation], fold.test, allow=allow_leak)
            except SpeakerLeakError as error:
                raise SpeakerLeakError(f"{self.name}, {fold.name}: {error}") from None
            folds.append(replace(fold, train=train, leak=leak))
        return folds

    def check(
        self, training: TrainingRecord | Iterable[Row], test: Sequence[Row], *, allow: bool = False
    ) -> LeakReport:
        """Run `check_leak`; zero-shot protocols also reject training on their corpora or on the left-out language.

        Raises:
            SpeakerLeakError: training and test overlap.
        """
        corpora = self.corpora if isinstance(self.split, FullCorpus) else ()
        languages = (self.split.language,) if isinstance(self.split, LeaveLanguageOut) else ()
        return check_leak(training, test, allow=allow, zero_shot_corpora=corpora, zero_shot_languages=languages)

    def found(self, rows: Iterable[Row]) -> dict[str, int]:
        """Count labeled rows by corpus, to compare with `expected`."""
        counts = Counter(row["corpus"] for row in self.rows_with_labels(rows))
        return {name: counts[name] for name in self.tested_corpora if counts[name]}


def clip_seconds(row: Row) -> float | None:
    """Return the duration that a row states, or that of its file's header; None if that is unreadable."""
    if row["duration"] is not None:
        return row["duration"]
    audio = row["audio"]
    try:
        info = soundfile.info(audio["path"] if audio["bytes"] is None else io.BytesIO(audio["bytes"]))
    except (OSError, soundfile.SoundFileError):
        return None
    return info.frames / info.samplerate


@dataclass(frozen=True)
class EvaluationPlan:
    """The test clips of a protocol.

    Attributes:
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
        """Compute the mean and standard deviation over folds of each metric, by name of `rows`; None for one fold."""
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
    """Select the test rows of a protocol: of one fold, by name or number, or of all.

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


def published_table(protocol: Protocol, metrics: Mapping[str, Any] | None = None) -> tuple[list[str], list[list[str]]]:
    """
    Return the headers and rows of the published results.

    Args:
        metrics: of one's own system on the complete test, as in `emotion_metrics`, for a last row named `MEASURED`.

    Returns:
        headers `system`, one per metric that was published (all metrics if none was), and `where`; and the cells of
        one row per published system.
    """
    systems: dict[tuple[str, str], dict[str, Published]] = {}
    for one in protocol.published:
        name = one.system + (f", {one.group} only" if one.group else "")
        systems.setdefault((name, one.where), {})[one.metric] = one
    columns = [metric for metric in METRIC_NAMES if any(metric in values for values in systems.values())]
    columns = columns or list(METRIC_NAMES)
    rows = [
        [name, *(format_metric(found.value, found.std) if (found := values.get(m)) else "–" for m in columns), where]
        for (name, where), values in systems.items()
    ]
    if metrics is not None:
        rows.append([MEASURED, *(format_metric(metrics[metric]) for metric in columns), ""])
    return ["system", *(METRIC_NAMES[metric] for metric in columns), "where"], rows


def format_published(protocol: Protocol, metrics: Mapping[str, Any] | None = None) -> str:
    """Format `published_table` as aligned text."""
    return format_table(*published_table(protocol, metrics), style="text", text_columns=(0, -1))
