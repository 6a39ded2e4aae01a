# SPDX-License-Identifier: Apache-2.0
"""Read the corpora that NAME=PATH arguments name."""

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from mser_llm.evaluation.labeled_clips import LabeledClips
    from processing_mser import LabelSet


def read_rows(corpora: Sequence[str]) -> dict[str, list[Mapping[str, Any]]]:
    """Read the rows of each corpus, and print the readers' warnings on standard error."""
    from mser_llm.data.read_corpus import parse_corpora, read_corpus

    found: dict[str, list[Mapping[str, Any]]] = {}
    for key, (name, path) in parse_corpora(corpora).items():
        reading = read_corpus(name, path)
        for warning in reading.warnings:
            print(f"{key}: {warning}", file=sys.stderr)
        found[key] = list(reading.rows)
    return found


def read_labeled(corpora: Sequence[str], labels: "LabelSet") -> dict[str, "LabeledClips"]:
    """Read the clips of each corpus whose emotion is in the label set."""
    from mser_llm.evaluation.labeled_clips import LabeledClips

    return {key: LabeledClips.from_rows(key, rows, labels) for key, rows in read_rows(corpora).items()}
