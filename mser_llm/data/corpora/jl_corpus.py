# SPDX-License-Identifier: Apache-2.0
"""JL corpus of New Zealand English."""

from mser_llm.data.corpora.spec import CorpusSpec, Rule


_OTHER = ("anxious", "apologetic", "assertive", "concerned", "encouraging")

CORPUS = CorpusSpec(
    name="jl-corpus",
    title="JL corpus",
    language="en",
    pattern=(
        r"(?P<speaker>(?P<gender>female|male)[12])_"
        rf"(?P<emotion>angry|excited|happy|neutral|sad|{'|'.join(_OTHER)})_(?P<sentence>\d+[ab])_(?P<take>[12])"
    ),
    example="female1_angry_10a_1",
    labels={
        "neutral": "neutral",
        "happy": "happy",
        "sad": "sad",
        "angry": "angry",
        "excited": "excited",
        **dict.fromkeys(_OTHER, "other"),
    },
    gender=Rule("{gender}"),
    expected=dict.fromkeys(("neutral", "happy", "sad", "angry", "excited"), 240) | {"other": 1200},
    speakers=4,
    license="CC0 1.0",
    redistribution=True,
    non_commercial=False,
    how_to_get="https://www.kaggle.com/tli725/jl-corpus",
    citation=(
        "James, Tian and Watson, An Open Source Emotional Speech Corpus for Human Robot Interaction Applications, "
        "Interspeech 2018"
    ),
    note="Its five secondary emotions are read as other.",
)
