# SPDX-License-Identifier: Apache-2.0
"""The speech corpora that this project reads, one `CorpusSpec` each; `mser_llm.data.corpus_reader` reads them all.

A further corpus is a further `CorpusSpec`, its labels in `processing_mser.emotions_mser.CORPUS_LABELS`, and a test
that builds a tree in its published layout. Counts are those of the published files; a reader reports what it finds
beside them and warns where they differ.
"""

from mser_llm.data.corpora.acted_english import ACTED_ENGLISH
from mser_llm.data.corpora.acted_languages import ACTED_LANGUAGES
from mser_llm.data.corpora.labelled_by_tables import LABELLED_BY_TABLES
from mser_llm.data.corpora.mosei import MOSEI
from mser_llm.data.corpora.rule import NULL, Rule
from mser_llm.data.corpora.spec import CorpusSpec, ParquetClips
from mser_llm.data.corpora.tables import ClipTable, DelimitedTable, LineTable
from mser_llm.data.corpora.unlabelled import COMMON_VOICE


CORPORA: dict[str, CorpusSpec] = {
    spec.name: spec for spec in (*LABELLED_BY_TABLES, MOSEI, *ACTED_ENGLISH, *ACTED_LANGUAGES, COMMON_VOICE)
}
"""The corpora with a declaration, those that name their emotions in tables first."""
FOLDER = "folder"
"""The name under which `mser_llm.data.folder_reader` reads the user's own data."""

__all__ = [
    "CORPORA",
    "FOLDER",
    "NULL",
    "ClipTable",
    "CorpusSpec",
    "DelimitedTable",
    "LineTable",
    "ParquetClips",
    "Rule",
]
