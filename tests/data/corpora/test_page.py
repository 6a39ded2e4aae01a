# SPDX-License-Identifier: Apache-2.0
"""docs/corpora.md says what the declarations say."""

from pathlib import Path

from mser_llm.data.corpora import CORPORA


PAGE = Path(__file__).resolve().parents[3] / "docs" / "corpora.md"


def test_the_table_of_the_page():
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    cells = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines]
    assert cells == [
        [
            name,
            spec.language,
            str(spec.clips or "?"),
            str(spec.speakers or "?"),
            spec.license,
            "yes" if spec.redistribution else "no",
            "no" if spec.non_commercial else "yes",
        ]
        for name, spec in CORPORA.items()
    ]
