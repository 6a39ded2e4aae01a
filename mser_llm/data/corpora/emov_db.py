# SPDX-License-Identifier: Apache-2.0
"""EmoV-DB, the emotional voices database."""

from mser_llm.data.corpora.spec import CorpusSpec, Rule


CORPUS = CorpusSpec(
    name="emov-db",
    title="EmoV-DB, the emotional voices database",
    language="en",
    # bea/Amused/amused_1-28_0011 in the sorted release, bea_Amused/... in copies.
    pattern=r"(?P<speaker>bea|jenie|josh|sam)[/_](?P<emotion>Amused|Angry|Disgust|Neutral|Sleepy)(?:ed)?/(?P<name>[^/]+)",
    example="bea/Amused/amused_1-28_0011",
    labels={"Amused": "happy", "Angry": "angry", "Disgust": "disgust", "Neutral": "neutral", "Sleepy": "other"},
    gender=Rule("{speaker}", {"bea": "female", "jenie": "female", "josh": "male", "sam": "male"}),
    expected={"happy": 1330, "angry": 1308, "disgust": 1033, "neutral": 1585, "other": 1744},
    speakers=4,
    license="for non-commercial purposes",
    redistribution=False,
    non_commercial=True,
    how_to_get="https://github.com/numediart/EmoV-DB",
    citation=(
        "Adigwe, Tits, El Haddad, Ostadabbas and Dutoit, The Emotional Voices Database: Towards Controlling the "
        "Emotion Dimension in Voice Generation Systems, arXiv 1806.09514, 2018"
    ),
    note="Amused is read as happy, sleepy as other.",
)
