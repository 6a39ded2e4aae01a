# SPDX-License-Identifier: Apache-2.0
"""MESD, Mexican emotional speech database."""

from mser_llm.data.corpora.spec import NULL, CorpusSpec, Rule


CORPUS = CorpusSpec(
    name="mesd",
    title="MESD, Mexican emotional speech database",
    language="es",
    # Words of several parts: Fear_M_A_basta_ya.
    pattern=(
        r"(?P<emotion>Anger|Disgust|Fear|Happiness|Neutral|Sadness)_(?P<voice>[FMC])_(?P<corpus>[AB])_(?P<word>[^/]+)"
    ),
    example="Anger_F_A_tarde",
    labels={
        "Anger": "angry",
        "Disgust": "disgust",
        "Fear": "fear",
        "Happiness": "happy",
        "Neutral": "neutral",
        "Sadness": "sad",
    },
    speaker=NULL,
    # C is a child.
    gender=Rule("{voice}", {"F": "female", "M": "male"}),
    # Release 5; the paper has 864 clips.
    expected=dict.fromkeys(("disgust", "fear", "happy", "sad"), 144) | {"angry": 143, "neutral": 143},
    license="CC BY 4.0",
    redistribution=True,
    non_commercial=False,
    how_to_get="https://data.mendeley.com/datasets/cy34mh68j9/5",
    citation=(
        "Duville, Alonso-Valerdi and Ibarra-Zarate, Mexican Emotional Speech Database Based on Semantic, Frequency, "
        "Familiarity, Concreteness, and Cultural Shaping of Affective Prosody, Data 6(12), 2021, 130"
    ),
    note="Single words, of women, men and children. The file names do not give the speaker.",
)
