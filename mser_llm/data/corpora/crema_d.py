# SPDX-License-Identifier: Apache-2.0
"""CREMA-D."""

from mser_llm.data.corpora.spec import CorpusSpec, DelimitedTable, Rule


CORPUS = CorpusSpec(
    name="crema-d",
    title="CREMA-D",
    language="en",
    pattern=(
        r"(?P<speaker>\d{4})_(?P<sentence>[A-Z]{3})_(?P<emotion>ANG|DIS|FEA|HAP|NEU|SAD)_"
        # One published name ends in a single X.
        r"(?P<intensity>[A-Z]{1,2})"
    ),
    example="1001_DFA_ANG_XX",
    labels={"ANG": "angry", "DIS": "disgust", "FEA": "fear", "HAP": "happy", "NEU": "neutral", "SAD": "sad"},
    gender=Rule("{Sex}", {"Male": "male", "Female": "female"}),
    transcript=Rule(
        "{sentence}",
        {
            "IEO": "It's eleven o'clock.",
            "TIE": "That is exactly what happened.",
            "IOM": "I'm on my way to the meeting.",
            "IWW": "I wonder what this is about.",
            "TAI": "The airplane is almost full.",
            "MTI": "Maybe tomorrow it will be cold.",
            "IWL": "I would like a new alarm clock.",
            "ITH": "I think I have a doctor's appointment.",
            "DFA": "Don't forget a jacket.",
            "ITS": "I think I've seen this before.",
            "TSI": "The surface is slick.",
            "WSI": "We'll stop in a couple of minutes.",
        },
    ),
    tables=(
        DelimitedTable(
            {"VideoDemographics.csv": {}},
            key=Rule("{ActorID}"),
            clip_key=Rule("{speaker}"),
            contents="genders",
            lists_clips=False,
        ),
    ),
    expected=dict.fromkeys(("happy", "sad", "angry", "disgust", "fear"), 1271) | {"neutral": 1087},
    speakers=91,
    license="ODbL 1.0",
    redistribution=True,
    non_commercial=False,
    how_to_get="https://github.com/CheyneyComputerScience/CREMA-D, AudioWAV and VideoDemographics.csv",
    citation=(
        "Cao, Cooper, Keutmann, Gur, Nenkova and Verma, CREMA-D: Crowd-sourced Emotional Multimodal Actors "
        "Dataset, IEEE Transactions on Affective Computing 5(4), 2014"
    ),
)
