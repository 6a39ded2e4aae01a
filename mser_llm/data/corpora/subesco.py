# SPDX-License-Identifier: Apache-2.0
"""SUBESCO."""

from mser_llm.data.corpora.spec import CorpusSpec, Rule


CORPUS = CorpusSpec(
    name="subesco",
    title="SUBESCO",
    language="bn",
    # One published name has a stray bracket at its end.
    pattern=(
        r"(?P<gender>[FM])_(?P<speaker>\d{2})_(?P<actor>[A-Z]+)_S_(?P<sentence>\d{1,2})_"
        r"(?P<emotion>ANGRY|DISGUST|FEAR|HAPPY|NEUTRAL|SAD|SURPRISE)_(?P<take>\d)\]?"
    ),
    example="F_01_OISHI_S_10_ANGRY_1",
    labels={
        "ANGRY": "angry",
        "DISGUST": "disgust",
        "FEAR": "fear",
        "HAPPY": "happy",
        "NEUTRAL": "neutral",
        "SAD": "sad",
        "SURPRISE": "surprise",
    },
    speaker=Rule("{gender}{speaker}"),
    gender=Rule("{gender}", {"F": "female", "M": "male"}),
    expected=dict.fromkeys(("neutral", "happy", "sad", "angry", "surprise", "disgust", "fear"), 1000),
    speakers=20,
    license="CC BY 4.0",
    redistribution=True,
    non_commercial=False,
    how_to_get="https://zenodo.org/records/4526477",
    citation=(
        "Sultana, Rahman, Selim and Iqbal, SUST Bangla Emotional Speech Corpus (SUBESCO), "
        "PLoS ONE 16(4), 2021, e0250173"
    ),
)
