# SPDX-License-Identifier: Apache-2.0
"""`run-mser protocols`."""

from mser_llm.evaluation.protocols import PROTOCOLS
from run_mser import main


def test_protocols_lists_all_with_clips_and_labels(capsys):
    assert main(["protocols"]) == 0
    lines = capsys.readouterr().out.splitlines()
    listed = {
        line.split()[0]: line.split()[1:3] for line in lines if line.split()[:1] and line.split()[0] in PROTOCOLS
    }
    assert list(listed) == list(PROTOCOLS)
    assert listed["iemocap-4"] == ["5531", "4"] and listed["resd"] == ["1396", "7"]
    assert max(map(len, lines)) <= 100


def test_protocols_shows_labels_results_and_notes_of_one(capsys):
    assert main(["protocols", "iemocap-7", "ravdess-4"]) == 0
    out = capsys.readouterr().out
    first, second = out.split("\nravdess-4: ")
    assert "neutral, happy, sad, angry, surprise, disgust, fear" in first
    (row,) = (line for line in first.splitlines() if line.startswith("  MSER + L_lec (S2)"))
    assert row.split()[-6:] == ["0.690", "0.513", "0.685", "0.710", "Table", "II"]
    assert "68.5 %" in first and "69.0" in first
    assert "0.5 to 12 s" in second and "0.580 ± 0.018" in second and "excited counts as happy" in second
    assert max(map(len, out.splitlines())) <= 100


def test_unknown_protocol_suggests_the_nearest(capsys):
    assert main(["protocols", "melt-7"]) == 2
    errors = capsys.readouterr().err
    assert "did you mean meld-7?" in errors and errors.count("\n") == 1
