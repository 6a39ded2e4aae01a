# SPDX-License-Identifier: Apache-2.0
"""NAME=PATH arguments of several commands to clips with truths."""

import sys
from collections.abc import Sequence

from mser_llm.data.read_corpus import parse_corpora, read_corpus
from mser_llm.evaluation.evaluation import within_label_set
from mser_llm.evaluation.labelled_clips import LabelledClips
from processing_mser import LabelSet


def read_labelled(corpora: Sequence[str], labels: LabelSet) -> dict[str, LabelledClips]:
    """The clips of each corpus whose emotion the label set holds; what a reader warns of goes to standard error.

    Raises:
        CorpusError: a corpus that cannot be read.
        EvaluationError: a corpus without any of the emotions.
    """
    found = {}
    for key, (name, path) in parse_corpora(corpora).items():
        reading = read_corpus(name, path)
        for warning in reading.warnings:
            print(f"{key}: {warning}", file=sys.stderr)
        kept = within_label_set(key, reading.rows, labels)
        found[key] = LabelledClips([key] * len(kept), [row for row, _ in kept], [truth for _, truth in kept])
    return found
