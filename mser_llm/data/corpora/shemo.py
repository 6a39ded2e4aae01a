# SPDX-License-Identifier: Apache-2.0
"""ShEMO, Sharif emotional speech."""

from mser_llm.data.corpora.spec import CorpusSpec, Rule


CORPUS = CorpusSpec(
    name="shemo",
    title="ShEMO, Sharif emotional speech",
    language="fa",
    pattern=r"(?P<speaker>(?P<gender>[FM])\d{2})(?P<emotion>[AFHNSW])(?P<number>\d{2,3})",
    example="F01A01",
    labels={"A": "angry", "F": "fear", "H": "happy", "N": "neutral", "S": "sad", "W": "surprise"},
    gender=Rule("{gender}", {"F": "female", "M": "male"}),
    expected={"neutral": 1160, "happy": 203, "sad": 362, "angry": 1042, "surprise": 201, "fear": 32},
    speakers=87,
    license="for research",
    redistribution=False,
    non_commercial=True,
    how_to_get="https://github.com/mansourehk/ShEMO",
    citation=(
        "Nezami, Lou and Karami, ShEMO: a large-scale validated database for Persian speech emotion detection, "
        "Language Resources and Evaluation 53, 2019"
    ),
    note="Its transcripts list 3000 clips; a common benchmark uses 2838 of them.",
)
