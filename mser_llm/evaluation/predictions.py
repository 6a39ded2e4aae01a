# SPDX-License-Identifier: Apache-2.0
"""What a system answered for each clip: in memory, and as `predictions.csv`."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import IO, Any

import numpy as np

from mser_llm.evaluation.metrics import emotion_metrics
from mser_llm.io.atomic_files import atomic_open
from mser_llm.io.spreadsheets import escape_formula, read_table_text, unescape_formula
from processing_mser.emotions_mser import UNPARSED


# Columns of text before the answer, and the field of `Predictions` that each is.
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
_NEEDED = ("corpus", "id", "emotion", "prediction")
# What may be unknown of a clip: an empty list stands for one that is unknown throughout.
_OPTIONAL = ("speakers", "genders", "languages", "files")
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}


class PredictionsError(ValueError):
    """A file that holds no predictions, or predictions that cannot be used together."""


@dataclass(frozen=True)
class Predictions:
    """The answers of one system over one corpus or several, one entry a clip that could be read.

    Attributes:
        labels: the candidate words, in the order of the columns of `scores`.
        corpora, ids: name each clip; a pair is unique.
        truths: each one of `labels`.
        predicted: each one of `labels`, or `UNPARSED`; None is taken for `UNPARSED`.
        scores: probabilities `(num_clips, num_labels)`; None for a system that gives none.
        speakers, genders, languages, files: None where unknown; left out, they are unknown throughout.

    Raises:
        PredictionsError: lists of unequal length, or words outside `labels`.
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
            raise PredictionsError(f"predictions of unequal length ({lengths}); give one entry a clip in each")
        for name, allowed in (("truths", {*self.labels}), ("predicted", {*self.labels, UNPARSED})):
            astray = sorted(set(getattr(self, name)) - allowed, key=str)
            if astray:
                raise PredictionsError(
                    f"{name} hold {', '.join(map(repr, astray[:5]))}, not in {', '.join(self.labels)}; drop such "
                    "clips, or give the labels of the evaluation"
                )
        if self.scores is not None and self.scores.shape != (len(self), len(self.labels)):
            raise PredictionsError(
                f"scores have shape {self.scores.shape}; {len(self)} clips and {len(self.labels)} labels need "
                f"({len(self)}, {len(self.labels)})"
            )

    def __len__(self) -> int:
        return len(self.ids)

    def subset(self, mask: Sequence[bool] | np.ndarray) -> "Predictions":
        """The clips that a mask `(num_clips,)` chooses, or those at the given positions, in their order."""
        chosen = np.arange(len(self))[np.asarray(mask)].tolist()
        columns = {name: getattr(self, name) for name in _COLUMNS.values()}
        lists = {name: [values[index] for index in chosen] for name, values in columns.items()}
        return Predictions(self.labels, scores=None if self.scores is None else self.scores[chosen], **lists)

    def reordered(self, labels: Sequence[str]) -> "Predictions":
        """The same answers, with the candidate words in another order, in which two programs may write them.

        Raises:
            PredictionsError: other words.
        """
        if self.labels == tuple(labels):
            return self
        if sorted(self.labels) != sorted(labels):
            raise PredictionsError(
                f"one system chose from {', '.join(labels)}, the other from {', '.join(self.labels)}; evaluate both "
                "with the same labels"
            )
        columns = [self.labels.index(word) for word in labels]
        return replace(self, labels=tuple(labels), scores=None if self.scores is None else self.scores[:, columns])

    @classmethod
    def concatenate(cls, parts: Sequence["Predictions"]) -> "Predictions":
        """The clips of all parts, with the labels in the order of the first; scores only where every part has them.

        Raises:
            PredictionsError: no part, or parts with different labels.
        """
        if not parts:
            raise PredictionsError("no predictions to join; give at least one")
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
        """From one mapping a clip, with the columns of `predictions.csv`; `scores` is `(num_clips, num_labels)`."""
        return cls(
            tuple(labels),
            scores=None if scores is None else np.asarray(scores, dtype=np.float64),
            **{name: [clip.get(column) or None for clip in clips] for column, name in _COLUMNS.items()},  # type: ignore[arg-type]
        )

    def metrics(self) -> dict[str, Any]:
        """Compute the metrics of all clips as in `emotion_metrics`."""
        return emotion_metrics(self.truths, self.predicted, self.labels)

    def clusters(self) -> np.ndarray:
        """The speaker of each clip as a number from 0, `(num_clips,)`; a clip without one is a speaker of its own."""
        keys = [(index,) if speaker is None else speaker for index, speaker in enumerate(self.speakers)]
        number = {key: index for index, key in enumerate(dict.fromkeys(keys))}
        return np.array([number[key] for key in keys], dtype=np.int64)

    def align(self, other: "Predictions") -> tuple["Predictions", "Predictions"]:
        """This and another system's answers for the clips that both have, by corpus and id, both in the order of this.

        Raises:
            PredictionsError: no clip is shared, a clip is there twice, or labels or truths differ.
        """
        other = other.reordered(self.labels)
        here, there = self._positions(), other._positions()
        shared = [key for key in here if key in there]
        if not shared:
            raise PredictionsError(
                f"the two systems share no clip (the first has {_clip(here)}, the second {_clip(there)}); evaluate "
                "both on the same corpora, given under the same names"
            )
        for corpus, clip in shared:
            truth, other_truth = self.truths[here[corpus, clip]], other.truths[there[corpus, clip]]
            if truth != other_truth:
                raise PredictionsError(
                    f"{corpus}, clip {clip}: the truth is {truth} for one system and {other_truth} for the other; "
                    "evaluate both on the same data"
                )
        return (
            self.subset(np.array([here[key] for key in shared])),
            other.subset(np.array([there[key] for key in shared])),
        )

    @classmethod
    def shared(cls, systems: Sequence["Predictions"]) -> list["Predictions"]:
        """The answers of several systems for the clips that all of them have, in the order of the first.

        Who speaks in a clip is known for all of them where one of them says so.

        Raises:
            PredictionsError: no system, two speakers of one clip, or as for `align`.
        """
        if not systems:
            raise PredictionsError("no predictions to compare; give at least one")
        first = systems[0]
        for system in systems[1:]:
            first, _ = first.align(system)
        kept = [first, *(first.align(system)[1] for system in systems[1:])]
        speakers = []
        for place, named in enumerate(zip(*(system.speakers for system in kept), strict=True)):
            one, *others = dict.fromkeys(name for name in named if name is not None) or [None]
            if others:
                raise PredictionsError(
                    f"{first.corpora[place]}, clip {first.ids[place]}: the speaker is {one} for one system and "
                    f"{others[0]} for another; evaluate both on the same data"
                )
            speakers.append(one)
        return [replace(system, speakers=speakers) for system in kept]

    def _positions(self) -> dict[tuple[str, str], int]:
        positions: dict[tuple[str, str], int] = {}
        for index, key in enumerate(zip(self.corpora, self.ids, strict=True)):
            if key in positions:
                raise PredictionsError(f"{key[0]}, clip {key[1]}: is there twice; give each clip once")
            positions[key] = index
        return positions


def _clip(positions: Mapping[tuple[str, str], int]) -> str:
    return " / ".join(next(iter(positions), ("no", "clip")))


class PredictionTable:
    """`predictions.csv`: one line a clip, the probability of each word (`p_WORD`), and `error` where it was not read.

    Text that a spreadsheet would run as a formula gets an apostrophe, which `read_predictions` takes off again.

    Args:
        file: opened for writing text; the header is written at once. It names the candidate words even where a system
            gives no probabilities, so that the file can be read by itself.
        labels: the candidate words.
        text: whether there is a column for the text that the model wrote.
    """

    def __init__(self, file: IO[str], labels: Sequence[str], text: bool = False):
        self.labels = tuple(labels)
        answer = [*(f"p_{word}" for word in self.labels), *(["text"] if text else []), "error"]
        self.writer = csv.DictWriter(file, [*_COLUMNS, *answer])
        self.writer.writeheader()

    def write(self, clip: Mapping[str, Any], scores: Sequence[float] | np.ndarray | None = None) -> None:
        """One line: the columns by name, those that are missing empty, and the probabilities in the labels' order."""
        line = {column: escape_formula(cell) if isinstance(cell, str) else cell for column, cell in clip.items()}
        if scores is not None:
            line |= {f"p_{word}": f"{score:.6f}" for word, score in zip(self.labels, scores, strict=True)}
        self.writer.writerow(line)


def write_predictions(
    path: str | PathLike, predictions: Predictions, unread: Sequence[Mapping[str, Any]] = ()
) -> Path:
    """Writes `predictions.csv`, whole or not at all; its folder is made if need be.

    Args:
        path: the file.
        predictions: of the clips that could be read.
        unread: a line by column for each of the others, with its `error`.
    """
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
    """Reads `predictions.csv`, of this project or of another program; clips with an `error` are left out.

    Args:
        path: the file, or the folder that `run-mser evaluate` wrote it into.
        labels: the candidate words, needed only where the file has no `p_WORD` columns.

    Raises:
        PredictionsError: there is no such file, it is not one of predictions, it names no labels, it holds no answer,
            or a clip without one or twice.
    """
    path = Path(path).expanduser()
    file_path = path / "predictions.csv" if path.is_dir() else path
    columns, numbered = _table(file_path)
    answered = [(number, line) for number, line in numbered if not line.get("error")]
    if not answered:
        errors = f", and {len(numbered)} with an error" if numbered else ""
        raise PredictionsError(f"{file_path}: holds no answered clip{errors}; give a file with answers")
    _check_clips(file_path, answered)
    scored = [column for column in columns if column.startswith("p_")]
    words = tuple(labels if labels is not None else (column.removeprefix("p_") for column in scored))
    if not words:
        raise PredictionsError(f"{file_path}: names no labels (no p_WORD columns); write it again, or give the labels")
    lines = [line for _, line in answered]
    try:
        return Predictions.from_clips(words, lines, _scores(lines, words))
    except PredictionsError as error:
        raise PredictionsError(f"{file_path}: {error}") from None


def list_clips(path: str | PathLike) -> list[tuple[str | None, str | None]]:
    """The corpus and id of every line of a `predictions.csv`, of clips that could not be read too.

    Raises:
        PredictionsError: there is no such file, or it is not one of predictions.
    """
    return [(line["corpus"], line["id"]) for _, line in _table(Path(path))[1]]


def _table(path: Path) -> tuple[list[str], list[tuple[int, dict[str, Any]]]]:
    """The columns of a `predictions.csv`, and all its lines with their numbers."""
    try:
        # As a spreadsheet saves it too: in UTF-8 with a mark, or in UTF-16.
        reader = csv.DictReader(io.StringIO(read_table_text(path), newline=""))
        columns = list(reader.fieldnames or [])
        numbered = [
            (
                reader.line_num,
                {name: unescape_formula(cell) if isinstance(cell, str) else cell for name, cell in line.items()},
            )
            for line in reader
        ]
    except OSError as error:
        raise PredictionsError(
            f"{path}: cannot be read ({error.strerror}); give a predictions.csv that run-mser evaluate wrote"
        ) from None
    except (UnicodeDecodeError, csv.Error):
        raise PredictionsError(
            f"{path}: is no table of text; give a predictions.csv that run-mser evaluate wrote"
        ) from None
    missing = [column for column in _NEEDED if column not in columns]
    if missing:
        header = columns[0] if len(columns) == 1 else ""
        for mark, name in _SEPARATORS.items():
            if mark in header and any(column.strip('" ') in _NEEDED for column in header.split(mark)):
                raise PredictionsError(f"{path}: its columns are separated by {name}; write it with commas")
        raise PredictionsError(
            f"{path}: has no column {', '.join(missing)}; give a predictions.csv that run-mser evaluate wrote"
        )
    return columns, numbered


def _check_clips(path: Path, answered: Sequence[tuple[int, Mapping[str, str | None]]]) -> None:
    """Refuses a clip without an answer, as of a file that was cut off, and one there twice; by the numbers of lines.

    What a system could not read a word out of is written as `UNPARSED`: a cell left empty is no answer to count.
    """
    numbers: dict[tuple[str | None, str | None], int] = {}
    for number, line in answered:
        empty = [column for column in _NEEDED if not (line[column] or "").strip()]
        if empty:
            raise PredictionsError(
                f"{path}: line {number} has no {' and no '.join(empty)}; write it whole, with an error where the clip "
                f"could not be read, and the prediction {UNPARSED!r} where the answer is none of the words"
            )
        clip = line["corpus"], line["id"]
        if clip in numbers:
            raise PredictionsError(
                f"{path}: line {number} is clip {clip[1]} of {clip[0]}, as is line {numbers[clip]}; give it once"
            )
        numbers[clip] = number


def _scores(lines: Sequence[Mapping[str, str]], words: Sequence[str]) -> np.ndarray | None:
    """The probabilities `(num_clips, num_labels)`; None where a clip has none."""
    cells = [[line.get(f"p_{word}") for word in words] for line in lines]
    if not cells or not all(cell for row in cells for cell in row):
        return None
    try:
        return np.array(cells, dtype=np.float64)
    except ValueError as error:
        raise PredictionsError(f"a probability is no number ({error}); write the file again") from None
