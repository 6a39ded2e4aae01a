# SPDX-License-Identifier: Apache-2.0
"""AESDD, acted emotional speech dynamic database."""

from mser_llm.data.corpora.spec import CorpusSpec


CORPUS = CorpusSpec(
    name="aesdd",
    title="AESDD, acted emotional speech dynamic database",
    language="el",
    # Five names have (01), the others (1).
    pattern=r"(?P<emotion>[adfhs])(?P<utterance>\d{2}) \(0*(?P<speaker>\d+)\)(?P<take>[a-z]?)",
    example="a03 (4)b",
    labels={"a": "angry", "d": "disgust", "f": "fear", "h": "happy", "s": "sad"},
    expected={"happy": 119, "sad": 122, "angry": 121, "disgust": 122, "fear": 120},
    speakers=6,
    license="not stated",
    redistribution=False,
    non_commercial=True,
    how_to_get="http://m3c.web.auth.gr/research/aesdd-speech-emotion-recognition/",
    citation=(
        "Vryzas, Kotsakis, Liatsou, Dimoulas and Kalliris, Speech Emotion Recognition for Performance "
        "Interaction, Journal of the Audio Engineering Society 66(6), 2018"
    ),
    note="Its file names have six speakers, its README five.",
)
