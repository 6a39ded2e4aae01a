# SPDX-License-Identifier: Apache-2.0
"""The speech corpora that this project reads, one file each; `mser_llm.data.corpus_reader` reads them all."""

from mser_llm.data.corpora import (
    aesdd,
    ased,
    banglaser,
    cmu_mosei,
    common_voice,
    crema_d,
    emodb,
    emogator,
    emovo,
    iemocap,
    librispeech,
    mead,
    meld,
    msp_podcast,
    nemo,
    ravdess,
    resd,
    savee,
    shemo,
    spanish,
    subesco,
    tess,
    turev_db,
    unlabeled,
    urdu,
)
from mser_llm.data.corpora.spec import CorpusSpec


# In the order of listings: labels in tables, acted English, other languages, no words, no emotions.
_MODULES = (
    iemocap, meld, msp_podcast, cmu_mosei, mead, ravdess, tess, crema_d, savee, aesdd, resd, shemo, emodb, urdu,
    subesco, banglaser, ased, nemo, turev_db, emovo, spanish, emogator, common_voice, librispeech,
    unlabeled,
)  # fmt: skip
CORPORA: dict[str, CorpusSpec] = {module.CORPUS.name: module.CORPUS for module in _MODULES}
FOLDER = "folder"
"""The corpus name of a user's own data, which `mser_llm.data.folder_reader` reads."""

__all__ = ["CORPORA", "FOLDER", "CorpusSpec"]
