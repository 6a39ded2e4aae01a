# SPDX-License-Identifier: Apache-2.0
"""Predictions of a system for each clip, in memory and as `predictions.csv`."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import IO, Any

import numpy as np

from mser_llm.evaluation.metrics import emotion_metrics
from mser_llm.io.atomic_files import atomic_open
from mser_llm.io.errors import InputError
from mser_llm.io.spreadsheets import escape_formula, read_table_text, unescape_formula
from processing_mser.emotions_mser import UNPARSED


# Text columns and their fields of `Predictions`.
_COLUMNS = {
    "corpus": "corpora",
    "id": "ids",
    "file": "files",
    "speaker": "speakers",
    "gender": "genders",
    "language": "languages",
    "emotion": "truths",
    "prediction": "predicted",
}
_REQUIRED = ("corpus", "id", "emotion", "prediction")
# Fields that may be unknown; an empty list means unknown for all clips.
_OPTIONAL = ("speakers", "genders", "languages", "files")
_PASS = "pass a predictions.csv written by run-mser evaluate"
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}


class PredictionsError(InputError):
    """A file does not contain predictions, or predictions do not fit together."""


@dataclass(frozen=True)
class Predictions:
    """Predictions of one system for one or several corpora, one entry per readable clip.

    Attributes:
        labels: the candidate labels, in the order of the columns of `scores`.
        corpora, ids: identify each clip; each pair is unique.
        truths: each one of `labels`.
        predicted: each one of `labels` or `UNPARSED`; None becomes `UNPARSED`.
        scores: probabilities `(num_clips, num_labels)`; None for a system without any.
        speakers, genders, languages, files: None if unknown; by default unknown for all clips.

    Raises:
        PredictionsError: lists of unequal length, or values outside `labels`.
    """

    labels: tuple[str, ...]
    corpora: list[str]
    ids: list[str]
    truths: list[str]
    predicted: list[str | None]
    scores: np.ndarray | None = None
    speakers: list[str | None] = field(default_factory=list)
    genders: list[str | None] = field(default_factory=list)
    languages: list[str | None] = field(default_factory=list)
    files: list[str | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in _OPTIONAL:
            if not getattr(self, name):
                object.__setattr__(self, name, [None] * len(self.ids))
        object.__setattr__(self, "labels", tuple(self.labels))
        object.__setattr__(self, "predicted", [UNPARSED if answer is None else answer for answer in self.predicted])
        lengths = {name: len(getattr(self, name)) for name in _COLUMNS.values()}
        if len(set(lengths.values())) > 1:
            raise PredictionsError(
                "predictions", f"unequal lengths: {lengths}", "pass one entry per clip in each list"
            )
        for name, allowed in (("truths", {*self.labels}), ("predicted", {*self.labels, UNPARSED})):
            unknown = sorted(set(getattr(self, name)) - allowed, key=str)
            if unknown:
                raise PredictionsError(
                    name,
                    f"{', '.join(map(repr, unknown[:5]))} not in {', '.join(self.labels)}",
                    "drop such clips, or pass the labels of the evaluation",
                )
        expected = (len(self), len(self.labels))
        if self.scores is not None and self.scores.shape != expected:
            raise PredictionsError("scores", f"shape {self.scores.shape} instead of (clips, labels) = {expected}")

    def __len__(self) -> int:
        return len(self.ids)

    def subset(self, mask: Sequence[bool] | Sequence[int] | np.ndarray) -> "Predictions":
        """Select clips by a mask `(num_clips,)` or by position, in their order."""
        chosen = np.arange(len(self))[np.asarray(mask)].tolist()
        lists = {name: [getattr(self, name)[index] for index in chosen] for name in _COLUMNS.values()}
        return Predictions(self.labels, scores=None if self.scores is None else self.scores[chosen], **lists)

    def of_corpus(self, name: str) -> "Predictions":
        """Select the clips of a corpus."""
        return self.subset([corpus == name for corpus in self.corpora])

    def reordered(self, labels: Sequence[str]) -> "Predictions":
        """Return the same predictions with the labels in another order.

        Raises:
            PredictionsError: `labels` are other labels.
        """
        if self.labels == tuple(labels):
            return self
        if sorted(self.labels) != sorted(labels):
            raise PredictionsError(
                "labels",
                f"{', '.join(labels)} for one system, {', '.join(self.labels)} for the other",
                "evaluate both with the same labels",
            )
        columns = [self.labels.index(word) for word in labels]
        return replace(self, labels=tuple(labels), scores=None if self.scores is None else self.scores[:, columns])

    @classmethod
    def concatenate(cls, parts: Sequence["Predictions"]) -> "Predictions":
        """Join the clips of all parts, with the labels in the order of the first; scores only if every part has them.

        Raises:
            PredictionsError: no part, or parts with different labels.
        """
        if not parts:
            raise PredictionsError("predictions", "there is nothing to join", "pass at least one")
        parts = [part.reordered(parts[0].labels) for part in parts]
        scores = [part.scores for part in parts if part.scores is not None]
        lists = {name: [value for part in parts for value in getattr(part, name)] for name in _COLUMNS.values()}
        return cls(parts[0].labels, scores=np.concatenate(scores) if len(scores) == len(parts) else None, **lists)

    @classmethod
    def from_clips(
        cls,
        labels: Sequence[str],
        clips: Sequence[Mapping[str, Any]],
        scores: Sequence[Sequence[float]] | np.ndarray | None = None,
    ) -> "Predictions":
        """Build from one mapping per clip, with the columns of `predictions.csv`."""
        return cls(
            tuple(labels),
            scores=None if scores is None else np.asarray(scores, dtype=np.float64),
            **{name: [clip.get(column) or None for clip in clips] for column, name in _COLUMNS.items()},  # type: ignore[arg-type]
        )

    def metrics(self) -> dict[str, Any]:
        """Compute the metrics of all clips as in `emotion_metrics`."""
        return emotion_metrics(self.truths, self.predicted, self.labels)

    def clusters(self) -> np.ndarray:
        """Number the speakers from 0, `(num_clips,)`; a clip without a speaker counts as a speaker."""
        keys = [(index,) if speaker is None else speaker for index, speaker in enumerate(self.speakers)]
        number = {key: index for index, key in enumerate(dict.fromkeys(keys))}
        return np.array([number[key] for key in keys], dtype=np.int64)

    def align(self, other: "Predictions") -> tuple["Predictions", "Predictions"]:
        """Match two systems' clips by corpus and id and keep the shared clips in the order of this.

        Raises:
            PredictionsError: no clip is shared, a clip occurs twice, or labels or truths differ.
        """
        other = other.reordered(self.labels)
        here, there = self._positions(), other._positions()
        shared = [key for key in here if key in there]
        if not shared:
            first, second = (" / ".join(next(iter(clips), ("no", "clip"))) for clips in (here, there))
            raise PredictionsError(
                "predictions",
                f"the two systems share no clip (the first has {first}, the second {second})",
                "evaluate both on the same corpora, given under the same names",
            )
        for corpus, clip in shared:
            truth, other_truth = self.truths[here[corpus, clip]], other.truths[there[corpus, clip]]
            if truth != other_truth:
                raise PredictionsError(
                    f"{corpus}, clip {clip}",
                    f"the label is {truth} for one system and {other_truth} for the other",
                    "evaluate both on the same data",
                )
        return self.subset([here[key] for key in shared]), other.subset([there[key] for key in shared])

    @classmethod
    def shared(cls, systems: Sequence["Predictions"]) -> list["Predictions"]:
        """Keep the clips that all systems share, in the order of the first.

        A speaker that only some systems know is filled in for all.

        Raises:
            PredictionsError: no system, different speakers of one clip, or as in `align`.
        """
        if not systems:
            raise PredictionsError("predictions", "there is nothing to compare", "pass at least one")
        first = systems[0]
        for system in systems[1:]:
            first, _ = first.align(system)
        kept = [first, *(first.align(system)[1] for system in systems[1:])]
        speakers = []
        for place, named in enumerate(zip(*(system.speakers for system in kept), strict=True)):
            one, *others = dict.fromkeys(name for name in named if name is not None) or [None]
            if others:
                raise PredictionsError(
                    f"{first.corpora[place]}, clip {first.ids[place]}",
                    f"the speaker is {one} for one system and {others[0]} for another",
                    "evaluate both on the same data",
                )
            speakers.append(one)
        return [replace(system, speakers=speakers) for system in kept]

    def _positions(self) -> dict[tuple[str, str], int]:
        positions: dict[tuple[str, str], int] = {}
        for index, key in enumerate(zip(self.corpora, self.ids, strict=True)):
            if key in positions:
                raise PredictionsError(f"{key[0]}, clip {key[1]}", "occurs twice", "pass each clip once")
            positions[key] = index
        return positions


def clip_columns(corpus: str, row: Mapping[str, Any], truth: str, prediction: str | None) -> dict[str, Any]:
    """Return the columns of `predictions.csv` for a row of a corpus, its label and its prediction."""
    audio = row["audio"]
    path = audio.get("path") if isinstance(audio, Mapping) else audio
    return {
        "corpus": corpus,
        "id": row["id"],
        "file": str(path) if isinstance(path, (str, PathLike)) else None,
        **{column: row.get(column) for column in ("speaker", "gender", "language")},
        "emotion": truth,
        "prediction": prediction,
    }


class PredictionTable:
    """Write `predictions.csv`: one line per clip with the probability of each label (`p_LABEL`) or an `error`.

    Text that a spreadsheet would run as a formula is prefixed with an apostrophe, which `read_predictions` removes.

    Args:
        file: opened for writing text; the header is written at once. It names the labels even for a system without
            probabilities, so that the file is self-contained.
        labels: the candidate labels.
        text: add a column for the generated text.
    """

    def __init__(self, file: IO[str], labels: Sequence[str], text: bool = False):
        self.labels = tuple(labels)
        columns = [*(f"p_{word}" for word in self.labels), *(["text"] if text else []), "error"]
        self.writer = csv.DictWriter(file, [*_COLUMNS, *columns])
        self.writer.writeheader()

    def write(self, clip: Mapping[str, Any], scores: Sequence[float] | np.ndarray | None = None) -> None:
        """Write one line from columns by name, missing ones empty, and probabilities in the order of the labels."""
        line = _cells(clip, escape_formula)
        if scores is not None:
            line |= {f"p_{word}": f"{score:.6f}" for word, score in zip(self.labels, scores, strict=True)}
        self.writer.writerow(line)


def write_predictions(
    path: str | PathLike, predictions: Predictions, unread: Sequence[Mapping[str, Any]] = ()
) -> Path:
    """Write `predictions.csv` atomically, and in it a line of columns for each unreadable clip, with its `error`."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_open(path) as file:
        table = PredictionTable(file, predictions.labels)
        for index in range(len(predictions)):
            clip = {column: getattr(predictions, name)[index] for column, name in _COLUMNS.items()}
            table.write(clip, None if predictions.scores is None else predictions.scores[index])
        for line in unread:
            table.write(line)
    return path


def read_predictions(path: str | PathLike, labels: Sequence[str] | None = None) -> Predictions:
    """Read `predictions.csv` as written by this project or another program, without the clips that have an `error`.

    Args:
        path: the file, or the output directory of `run-mser evaluate`.
        labels: the candidate labels, needed only if the file has no `p_LABEL` columns.

    Raises:
        PredictionsError: the file does not exist, is not a table of predictions, names no labels, has no prediction,
            or has a clip twice or without a prediction.
    """
    path = Path(path).expanduser()
    file_path = path / "predictions.csv" if path.is_dir() else path
    columns, numbered = _table(file_path)
    predicted = [(number, line) for number, line in numbered if not line.get("error")]
    if not predicted:
        errors = f" ({len(numbered)} clips with an error)" if numbered else ""
        raise PredictionsError(file_path, f"contains no prediction{errors}", "pass a file with predictions")
    _check_clips(file_path, predicted)
    scored = [column for column in columns if column.startswith("p_")]
    words = tuple(labels if labels is not None else (column.removeprefix("p_") for column in scored))
    if not words:
        raise PredictionsError(file_path, "has no p_LABEL columns", "add them, or pass the labels")
    lines = [line for _, line in predicted]
    try:
        return Predictions.from_clips(words, lines, _scores(lines, words))
    except PredictionsError as error:
        raise PredictionsError(file_path, f"{error.source}: {error.problem}", error.fix) from None


def list_clips(path: str | PathLike) -> list[tuple[str | None, str | None]]:
    """Return the corpus and id of every line of a `predictions.csv`, including unreadable clips.

    Raises:
        PredictionsError: the file does not exist or is not a table of predictions.
    """
    return [(line["corpus"], line["id"]) for _, line in _table(Path(path))[1]]


def _table(path: Path) -> tuple[list[str], list[tuple[int, dict[str, Any]]]]:
    """Read the columns of a `predictions.csv` and its lines with their numbers."""
    try:
        # Spreadsheets save UTF-8 with a byte order mark, or UTF-16.
        reader = csv.DictReader(io.StringIO(read_table_text(path), newline=""))
        columns = list(reader.fieldnames or [])
        numbered = [(reader.line_num, _cells(line, unescape_formula)) for line in reader]
    except OSError as error:
        raise PredictionsError(path, f"cannot be read ({error.strerror})", _PASS) from None
    except (UnicodeDecodeError, csv.Error):
        raise PredictionsError(path, "is not a CSV file", _PASS) from None
    missing = [column for column in _REQUIRED if column not in columns]
    if missing:
        header = columns[0] if len(columns) == 1 else ""
        for mark, name in _SEPARATORS.items():
            if mark in header and any(column.strip('" ') in _REQUIRED for column in header.split(mark)):
                raise PredictionsError(path, f"columns are separated by {name}", "save it with commas")
        raise PredictionsError(path, f"has no column {', '.join(missing)}", _PASS)
    return columns, numbered


def _cells(line: Mapping[str, Any], convert: Callable[[str], str]) -> dict[str, Any]:
    return {column: convert(cell) if isinstance(cell, str) else cell for column, cell in line.items()}


def _check_clips(path: Path, predicted: Sequence[tuple[int, Mapping[str, str | None]]]) -> None:
    """Reject clips without a prediction (an incomplete file) and clips that occur twice, with the number of the line.

    A prediction that could not be parsed is written as `UNPARSED`, never as an empty cell.
    """
    numbers: dict[tuple[str | None, str | None], int] = {}
    for number, line in predicted:
        empty = [column for column in _REQUIRED if not (line[column] or "").strip()]
        if empty:
            raise PredictionsError(
                f"{path}, line {number}",
                f"has no {' and no '.join(empty)}",
                f"write an error for an unreadable clip, and {UNPARSED!r} for a prediction outside the labels",
            )
        clip = line["corpus"], line["id"]
        if clip in numbers:
            raise PredictionsError(
                f"{path}, line {number}",
                f"clip {clip[1]} of {clip[0]} is already in line {numbers[clip]}",
                "remove one",
            )
        numbers[clip] = number


def _scores(lines: Sequence[Mapping[str, str]], words: Sequence[str]) -> np.ndarray | None:
    """Parse the probabilities `(num_clips, num_labels)`; None if a clip has none."""
    cells = [[line.get(f"p_{word}") for word in words] for line in lines]
    if not cells or not all(cell for row in cells for cell in row):
        return None
    try:
        return np.array(cells, dtype=np.float64)
    except ValueError as error:
        raise PredictionsError("probabilities", str(error), "write the file again") from None
