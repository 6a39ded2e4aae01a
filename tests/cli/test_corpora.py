# SPDX-License-Identifier: Apache-2.0
"""`run-mser corpora` on small known corpora, and on real ones if available."""

import re
from itertools import takewhile

import pytest

import run_mser
from mser_llm.data.corpora import CORPORA


def run_corpora(capsys, *words):
    status = run_mser.main(["corpora", *map(str, words)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def is_indented(line):
    return line.startswith(" ")


def line_of(text, start):
    """Return the words of the only line with this beginning."""
    (line,) = (line for line in text.splitlines() if line.strip().startswith(start))
    return line.split()


@pytest.fixture
def ravdess(tmp_path):
    """Two actors, five empty clips, one song that is left out and one unknown file."""
    folder = tmp_path / "RAVDESS speech"
    names = ["01-01-01-01", "05-01-01-01", "05-02-01-01"]
    (folder / "Actor_01").mkdir(parents=True)
    for name in names:
        (folder / "Actor_01" / f"03-01-{name}-01.wav").touch()
    (folder / "Actor_02").mkdir()
    for name in ("03-01-02-01-01-01-02", "03-01-08-01-01-01-02", "03-02-05-01-01-01-02", "stray"):
        (folder / "Actor_02" / f"{name}.flac").touch()
    return folder


def test_corpora_shows_found_and_expected_counts(ravdess, capsys):
    status, out, err = run_corpora(capsys, f"ravdess={ravdess}")
    assert (status, err) == (0, "")
    assert line_of(out, "neutral")[:3] == ["neutral", "1", "96"]
    assert line_of(out, "angry")[:3] == ["angry", "2", "192"]
    assert line_of(out, "calm")[:3] == ["calm", "1", "192"]
    assert line_of(out, "fear")[:3] == ["fear", "0", "192"]
    assert line_of(out, "total")[:3] == ["total", "5", "1440"]
    assert line_of(out, "speakers") == ["speakers", "2", "(1", "female,", "1", "male)"]
    assert line_of(out, "language") == ["language", "en"]
    assert "stray.flac" in out
    assert "warning" in out
    assert "song" in out


def test_corpora_reads_several_in_order_and_continues_after_an_unreadable_one(ravdess, tmp_path, capsys):
    (tmp_path / "mine" / "angry").mkdir(parents=True)
    (tmp_path / "mine" / "angry" / "a.wav").touch()
    words = (f"folder={tmp_path / 'mine'}", "nemo=/no/such", f"ravdess={ravdess}", "savee=/no/such/either")
    status, out, err = run_corpora(capsys, *words)
    assert status == 1
    found = [out.index(part) for part in ("folder:", "nemo: not found, /no/such", "ravdess:", "savee: not found")]
    assert found == sorted(found)
    assert err.count("\n") == 2


@pytest.mark.parametrize(
    ("argument", "entry"),
    [("ravdess=/no/such", "/no/such"), ("ravdes=.", "'ravdes'"), ("ravdess", "NAME=PATH"), ("=x", "NAME=PATH")],
)
def test_corpora_errors_are_one_line_and_status_2(argument, entry, capsys):
    status, out, err = run_corpora(capsys, argument)
    assert (status, out) == (2, "")
    assert entry in err
    assert err.count("\n") == 1


def test_corpora_without_arguments_lists_all_with_licences(capsys):
    status, out, _ = run_corpora(capsys)
    assert status == 0
    lines = out.splitlines()
    assert max(map(len, lines)) <= 100
    starts = {line.split()[0]: index for index, line in enumerate(lines) if not line.startswith(" ")}
    assert list(starts) == ["corpus", *CORPORA, "folder", "m5ser"]
    for name, spec in CORPORA.items():
        first = starts[name]
        entry = " ".join(" ".join(lines[first:][: 1 + len(list(takewhile(is_indented, lines[first + 1 :])))]).split())
        assert entry.split()[1] == spec.language
        assert spec.license in entry
        assert spec.how_to_get in entry
        assert spec.note in entry
        for emotion, count in spec.expected.items():
            assert f"{emotion} {count}" in entry
        assert ("may be passed on" in entry) == spec.redistribution
        assert ("not for commercial use" in entry) == spec.non_commercial


@pytest.mark.parametrize(("name", "clips"), [("ravdess", 1440), ("nemo", 4481)])
def test_corpora_confirms_a_complete_real_corpus(name, clips, corpora_dir, capsys):
    folder = corpora_dir / name
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    status, out, _ = run_corpora(capsys, f"{name}={folder}")
    assert status == 0
    assert line_of(out, "total")[1:3] == [str(clips), str(clips)]
    assert not re.search("differs|warning|unmatched", out)
