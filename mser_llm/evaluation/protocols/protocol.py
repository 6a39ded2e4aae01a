# SPDX-License-Identifier: Apache-2.0
"""A protocol: which speech is tested on which words, by which division, and what others published for it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mser_llm.data.corpora import CORPORA
from mser_llm.data.splits import SpeakerLeakError
from mser_llm.evaluation.protocols.clip_lengths import within_seconds
from mser_llm.evaluation.protocols.folds import Fold, FullCorpus, LeaveLanguageOut, ProtocolError, Split
from mser_llm.evaluation.protocols.leaks import LeakReport, check_leak, remove_leaks
from mser_llm.evaluation.protocols.training_record import TrainingRecord
from processing_mser.emotions_mser import LabelSet


Row = Mapping[str, Any]


@dataclass(frozen=True)
class Published:
    """One published number.

    Attributes:
        system: as the paper calls it.
        metric: a figure of `emotion_metrics`.
        value: a fraction, with the digits that were published.
        where: its table or section.
        std: its standard deviation over runs, where one was published.
        group: of these clips only, such as `female`; None for all.
    """

    system: str
    metric: str
    value: float
    where: str
    std: float | None = None
    group: str | None = None


@dataclass(frozen=True)
class Protocol:
    """One test.

    Attributes:
        name: for the command line.
        title: in words.
        source: paper and section.
        corpora: names as in `mser_llm.data.corpora.CORPORA`.
        labels: the candidate labels, with what this protocol merges.
        split: how the rows are divided.
        expected: tested clips of the words by corpus, before clips are left out for their length.
        min_seconds, max_seconds: shorter and longer clips are left out.
        assumption: where the source leaves the division open, or gives none, what was chosen here; None where it says.
        notes: what a reader of the figures must know.
        published: numbers to stand beside one's own.
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
        """Those that have test clips; the others only train."""
        if isinstance(self.split, LeaveLanguageOut):
            return tuple(name for name in self.corpora if CORPORA[name].language == self.split.language)
        return self.corpora

    def divide(self, rows: Sequence[Row]) -> list[Fold]:
        """All rows by the split; neither words nor lengths nor leaks are looked at.

        Raises:
            ProtocolError: rows of another corpus, or rows that the split cannot divide.
        """
        astray = sorted({row["corpus"] for row in rows} - set(self.corpora))
        if astray or not rows:
            raise ProtocolError(
                f"{self.name} is about {', '.join(self.corpora)}, not {', '.join(astray) or 'no clips'}; give it these"
            )
        return self.split.divide(rows)

    def usable(self, rows: Iterable[Row]) -> tuple[list[Row], dict[str, int]]:
        """The rows within the limits of length, and how many are not, by reason; without limits no header is read."""
        rows = list(rows)
        if self.min_seconds is None and self.max_seconds is None:
            return rows, {}
        return within_seconds(rows, self.min_seconds or 0.0, self.max_seconds or float("inf"))

    def rows_with_labels(self, rows: Iterable[Row]) -> list[Row]:
        """The rows whose emotion the words hold."""
        return [row for row in rows if self.labels.map(row["emotion"]) is not None]

    def training_rows(self, rows: Iterable[Row], *, unlabelled: bool = False) -> list[Row]:
        """Rows of the words, or of all emotions where `unlabelled`, within the limits of length."""
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
        """What to train on and what to test, for each fold.

        Args:
            rows: of the protocol's corpora.
            training: further rows to train on, such as M5SER. Each fold leaves out of them the translations of its own
                test and validation recordings and of their speakers, and whatever M5SER holds of these itself.
            allow_leak: keep a fold whose training still shares speakers or recordings with its test, and mark it.
            unlabelled: keep rows of `training` whose emotion is unknown or none of the words.
            only: the one fold that is wanted; by default all.

        Returns:
            Folds with rows of the words and lengths only (but for `unlabelled`), each with its `leak`.

        Raises:
            ProtocolError: rows that the split cannot divide.
            SpeakerLeakError: training and test of a fold share speakers or recordings.
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
        """`check_leak`; a zero-shot protocol also refuses training on its corpora, or in the language left out.

        Raises:
            SpeakerLeakError: something is on both sides.
        """
        corpora = self.corpora if isinstance(self.split, FullCorpus) else ()
        languages = (self.split.language,) if isinstance(self.split, LeaveLanguageOut) else ()
        return check_leak(training, test, allow=allow, zero_shot_corpora=corpora, zero_shot_languages=languages)

    def found(self, rows: Iterable[Row]) -> dict[str, int]:
        """Rows of the words by corpus, to stand beside `expected`."""
        counts = Counter(row["corpus"] for row in self.rows_with_labels(rows))
        return {name: counts[name] for name in self.tested_corpora if counts[name]}
