# SPDX-License-Identifier: Apache-2.0
"""The speech corpora that this project reads, one file each; `mser_llm.data.corpus_reader` reads them all."""

from mser_llm.data.corpora import (
    aesdd,
    ased,
    banglaser,
    baved,
    cafe,
    casia,
    cmu_mosei,
    common_voice,
    crema_d,
    dusha,
    emodb,
    emogator,
    emov_db,
    emovo,
    emozionalmente,
    esd,
    eyase,
    iemocap,
    jl_corpus,
    kannada,
    librispeech,
    mead,
    meld,
    mesd,
    msp_podcast,
    nemo,
    oreau,
    ravdess,
    resd,
    savee,
    shemo,
    spanish,
    subesco,
    tess,
    thai_ser,
    turev_db,
    unlabeled,
    urdu,
)
from mser_llm.data.corpora.spec import CorpusSpec


# In the order of listings: labels in tables, acted English, other languages, no words, no emotions.
_MODULES = (
    iemocap, meld, msp_podcast, cmu_mosei, emozionalmente, dusha, thai_ser, mead, ravdess, tess, crema_d, savee,
    jl_corpus, emov_db, esd, aesdd, resd, shemo, emodb, urdu, subesco, banglaser, ased, nemo, turev_db, emovo, cafe,
    oreau, mesd, spanish, casia, eyase, kannada, emogator, baved, common_voice, librispeech, unlabeled,
)  # fmt: skip
CORPORA: dict[str, CorpusSpec] = {module.CORPUS.name: module.CORPUS for module in _MODULES}
FOLDER = "folder"
"""The corpus name of a user's own data, which `mser_llm.data.folder_reader` reads."""

__all__ = ["CORPORA", "FOLDER", "CorpusSpec"]
