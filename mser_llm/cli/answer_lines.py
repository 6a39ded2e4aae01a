# SPDX-License-Identifier: Apache-2.0
"""Format the answers of `run-mser predict` as text: the answer first, in columns, one line per file in a pipe."""

import json
import os
import shutil
import textwrap
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING


if TYPE_CHECKING:
    from mser_llm.inference.recognition import Recognition


_BOLD, _RED, _DIM, _RESET = "\033[1m", "\033[1;31m", "\033[2m", "\033[0m"
# Joiners, of Persian words and of emoji, are part of a name; other characters that nothing shows are not printed.
_JOINERS = "\u200c\u200d"
_ERROR = "error"
_GAP = "  "


def printable(text: str, kept: str = _JOINERS) -> str:
    """Escape line breaks, terminal controls and bytes that are no text, so that any text is one harmless line."""
    return "".join(c if c.isprintable() or c in kept else c.encode("unicode_escape").decode() for c in text)


def display_width(text: str) -> int:
    """The columns that a text takes on a terminal: two for wide characters and emoji, none for combining marks."""
    return sum(
        0 if unicodedata.category(c) in ("Mn", "Me", "Cf") else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def padded(text: str, width: int) -> str:
    """The text with spaces up to a width in columns."""
    return text + " " * (width - display_width(text))


def terminal_width(stream: IO[str]) -> int | None:
    """The columns of the terminal that a stream writes to; None for a file or a pipe."""
    return shutil.get_terminal_size().columns if stream.isatty() else None


def shows_colour(stream: IO[str]) -> bool:
    """Whether to use colour: on a terminal that has it, unless NO_COLOR is set (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class AnswerLines:
    """The text for each file.

    `happy 0.90  recordings/a.wav   neutral 0.03  *happy 0.90   sad 0.07`: the answer and its probability, the file,
    the candidate words in their order with the answer marked. On a terminal that is too narrow for the longest line,
    the words follow in columns under the file.

    Args:
        files: of all lines; their widths make the column.
        words: the candidate words; those that the model never learned are marked with `?`.
        unlearned: these.
        scored: whether the answers have probabilities.
        width: columns of the terminal; None writes one line per file, however long.
        colour: whether to use colour.
    """

    def __init__(
        self,
        files: Sequence[Path],
        words: Sequence[str],
        unlearned: Sequence[str] = (),
        scored: bool = True,
        width: int | None = None,
        colour: bool = False,
    ):
        self.words, self.width, self.colour = tuple(words), width, colour
        self.shown = {word: printable(f"{word}?" if word in unlearned else word) for word in words}
        self.label_width = max(map(display_width, ["unparsed", *self.shown.values()]))
        self.answer_width = self.label_width + (len(" 0.00") if scored else 0)
        self.file_width = max((display_width(printable(str(file))) for file in files), default=0)
        cells = sum(display_width(shown) for shown in self.shown.values()) + len(self.words) * len("* 0.00")
        total_width = self.answer_width + self.file_width + cells + len(_GAP) * (len(self.words) + 1)
        self.wrapped = width is not None and total_width > width

    def text(self, file: Path, answer: "Recognition") -> str:
        """The line of one file, or its lines on a narrow terminal, without the last line break."""
        name = printable(str(file))
        if answer.error is not None:
            return self._error(file, name, answer.error)
        label = str(answer.label)
        shown = padded(self.shown.get(label, label), self.label_width)
        if answer.scores is None:
            written = printable(json.dumps(answer.text, ensure_ascii=False))
            start = f"{self._styled(shown, _BOLD)}{_GAP}{padded(name, self.file_width)}"
            return self._with_prose(start, display_width(shown) + len(_GAP) + self.file_width, written)
        start = self._styled(f"{shown} {answer.scores[label]:.2f}", _BOLD) + _GAP
        if not self.wrapped:
            return f"{start}{padded(name, self.file_width)}{_GAP}{_GAP.join(self._cells(answer, 0))}"
        return "\n".join([f"{start}{name}", *self._grid(answer)])

    def _cells(self, answer: "Recognition", width: int) -> list[str]:
        """One cell per word, `*` before the answer, padded to a width."""
        cells = []
        for word in self.words:
            won = word == answer.label
            text = f"{'*' if won else ' '}{padded(self.shown[word], width)} {(answer.scores or {})[word]:.2f}"
            cells.append(self._styled(text, _BOLD if won else _DIM))
        return cells

    def _grid(self, answer: "Recognition") -> list[str]:
        """The words in columns of one width, as many as the terminal has room for."""
        widest = max(map(display_width, self.shown.values()))
        room = (self.width or 0) - len(_GAP)
        columns = max(1, room // (widest + len("* 0.00") + len(_GAP)))
        cells = self._cells(answer, widest)
        return [_GAP + _GAP.join(cells[start : start + columns]).rstrip() for start in range(0, len(cells), columns)]

    def _error(self, file: Path, name: str, error: str) -> str:
        # An error of the audio names its file, with all that is not printable escaped.
        message = error.removeprefix(f"{file}: ").removeprefix(f"{printable(str(file), kept='')}: ")
        shown = padded(_ERROR, self.answer_width)
        start = f"{self._styled(shown, _RED)}{_GAP}{padded(name, self.file_width)}"
        return self._with_prose(start, display_width(shown) + len(_GAP) + self.file_width, printable(message))

    def _with_prose(self, start: str, taken: int, prose: str) -> str:
        """The beginning of a line, which takes so many columns, and text behind it or wrapped at its words below."""
        if self.width is None or taken + len(_GAP) + display_width(prose) <= self.width:
            return f"{start}{_GAP}{prose}"
        indent = _GAP * 2
        lines = textwrap.wrap(
            prose, max(20, self.width), initial_indent=indent, subsequent_indent=indent, break_long_words=False,
            break_on_hyphens=False,
        )  # fmt: skip
        return "\n".join([start.rstrip(), *lines])

    def _styled(self, text: str, style: str) -> str:
        return f"{style}{text}{_RESET}" if self.colour else text
