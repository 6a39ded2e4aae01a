# SPDX-License-Identifier: Apache-2.0
"""The speech corpora that this project reads, each one a declaration; [`data_mser.reading`] holds the one engine.

A further corpus is a further `CorpusSpec`, its labels in `processing_mser.emotions_mser.CORPUS_LABELS`, and a test
that builds a tree in its published layout. Counts are those of the published files; a reader reports what it finds
beside them and warns where they differ.
"""

from .acted import ACTED
from .spec import NULL, CorpusSpec, MetadataTable, Rule


CORPORA: dict[str, CorpusSpec] = {spec.name: spec for spec in ACTED}
"""The corpora that are read by their file names."""
FOLDER = "folder"
"""The name under which `data_mser.folder` reads the user's own data."""

__all__ = ["CORPORA", "FOLDER", "NULL", "CorpusSpec", "MetadataTable", "Rule"]
