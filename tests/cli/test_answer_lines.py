# SPDX-License-Identifier: Apache-2.0
"""The lines of `run-mser predict`: aligned columns within the terminal's width, color on terminals only."""

import io
import re
from pathlib import Path

import pytest

from mser_llm.cli.answer_lines import AnswerLines, display_width, printable, shows_colour, terminal_width
from mser_llm.inference.recognition import Recognition
from processing_mser import label_set


WORDS = label_set("seven").words
FILES = [
    Path("recordings/a.wav"),
    Path("recordings/録音した音声.wav"),
    Path("recordings/🎤 été.wav"),
    Path("a/very/long/folder/name/that/goes/on/and/on/and/on/until/nobody/can/read/it/recording 17.flac"),
]


def prediction(file: Path, label: str = "happy") -> Recognition:
    return Recognition(file, label, {word: 0.88 if word == label else 0.02 for word in WORDS}, seconds=1.0)


def failed(file: Path) -> Recognition:
    return Recognition(
        file, None, error=f"{file}: is too short (0.050 s, the least is 0.1 s); give a longer recording"
    )


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("files", [FILES, FILES[:3]])
def test_narrow_terminal_wraps_and_marks_the_prediction(files):
    lines = AnswerLines(files, WORDS, width=80)
    for file in files:
        first, *grid = lines.text(file, prediction(file)).split("\n")
        assert first.split(maxsplit=2)[:2] == ["happy", "0.88"]
        # Only a path that is longer than the terminal's width may exceed it.
        assert first.endswith(str(file)) and (display_width(first) <= 80 or display_width(str(file)) > 60)
        assert all(display_width(line) <= 80 for line in grid)
        pairs = re.findall(r"(\*?)(\w+) +(\d\.\d\d)", "\n".join(grid))
        assert [word for _, word, _ in pairs] == list(WORDS)
        assert [word for mark, word, _ in pairs if mark] == ["happy"]
        columns = [[match.start() for match in re.finditer(r"\d\.\d\d", line)] for line in grid]
        assert all(places == columns[0][: len(places)] for places in columns)
    first, *message = lines.text(files[0], failed(files[0])).split("\n")
    assert first.split()[0] == "error"
    words = " ".join([first, *message]).split()
    assert words == ["error", str(files[0]), *str(failed(files[0]).error).split()[1:]]
    assert all(display_width(line) <= 80 for line in message)


def test_many_labels_fit_any_terminal():
    words = [f"word{number}" for number in range(40)] + ["とても嬉しい"]
    scores = dict.fromkeys(words, 1 / 41)
    for width in (20, 80, 200):
        lines = AnswerLines(FILES[:1], words, width=width).text(FILES[0], Recognition("", words[3], scores))
        assert all(display_width(line) <= width for line in lines.split("\n")[1:])
        assert lines.count("0.02") == 42


def test_pipe_has_one_aligned_line_per_file():
    lines = AnswerLines(FILES, WORDS)
    texts = [lines.text(file, prediction(file, word)) for file, word in zip(FILES, WORDS, strict=False)]
    texts.append(lines.text(FILES[0], failed(FILES[0])))
    assert all("\n" not in text and "\033" not in text for text in texts)
    starts = [display_width(text[: text.index(str(file))]) for text, file in zip(texts, [*FILES, FILES[0]])]
    assert len(set(starts)) == 1
    ends = {display_width(text[: re.search(r"[ *]neutral 0", text).start()]) for text in texts[:-1]}
    assert len(ends) == 1
    wide_terminal = AnswerLines(FILES[:3], WORDS, width=160)
    assert "\n" not in wide_terminal.text(FILES[0], prediction(FILES[0]))


def test_colour_is_for_terminals_without_no_color(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert (shows_colour(Terminal()), terminal_width(Terminal())) == (True, 80)
    assert (shows_colour(io.StringIO()), terminal_width(io.StringIO())) == (False, None)
    for name, value in (("NO_COLOR", "1"), ("TERM", "dumb")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            assert not shows_colour(Terminal())
    plain = AnswerLines(FILES, WORDS, width=80)
    coloured = AnswerLines(FILES, WORDS, width=80, colour=True)
    for one in (prediction(FILES[0]), failed(FILES[0]), Recognition(FILES[0], "unparsed", text="hm")):
        text = coloured.text(FILES[0], one)
        assert "\033[1" in text
        assert re.sub(r"\033\[[\d;]*m", "", text) == plain.text(FILES[0], one)


def test_control_characters_are_escaped_in_one_line():
    hostile = "a\nb\r\x1b[2J\x9b1m\u2028\u202e\udcff.wav"
    assert printable(hostile) == "a\\nb\\r\\x1b[2J\\x9b1m\\u2028\\u202e\\udcff.wav"
    assert printable("نیم\u200cفاصله 👩\u200d🎤.wav") == "نیم\u200cفاصله 👩\u200d🎤.wav"
    file, words = Path(hostile), ["up\x1b[A", "down"]
    lines = AnswerLines([file], words, unlearned=["down"])
    for one in (
        Recognition(file, words[0], {words[0]: 0.9, words[1]: 0.1}),
        Recognition(file, "unparsed", text="x\u202e\n\x1b[2J"),
        Recognition(file, None, error=f"{file}: is\nempty"),
    ):
        text = lines.text(file, one)
        assert text.isprintable()
    assert "down? 0.10" in lines.text(file, Recognition(file, words[0], {words[0]: 0.9, words[1]: 0.1}))
