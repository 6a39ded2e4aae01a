# SPDX-License-Identifier: Apache-2.0
"""TESS, Toronto emotional speech set."""

from mser_llm.data.corpora.spec import CorpusSpec, Rule


CORPUS = CorpusSpec(
    name="tess",
    title="TESS, Toronto emotional speech set",
    language="en",
    # An older and a younger woman. Some names lack the F, and copies have words around the name.
    pattern=(
        r"[^/]*?(?P<speaker>OA|YA)F?_(?P<word>[a-z]+)_"
        r"(?P<emotion>angry|disgust|fear|happy|neutral|ps|sad)(?![a-z])[^/]*"
    ),
    example="OAF_back_angry",
    labels={
        "angry": "angry",
        "disgust": "disgust",
        "fear": "fear",
        "happy": "happy",
        "neutral": "neutral",
        "ps": "surprise",
        "sad": "sad",
    },
    gender=Rule("female"),
    transcript=Rule("Say the word {word}"),
    expected=dict.fromkeys(("neutral", "happy", "sad", "angry", "surprise", "disgust", "fear"), 400),
    speakers=2,
    license="CC BY-NC-ND 4.0",
    # No derivatives: not even a copy in another codec may be redistributed.
    redistribution=False,
    non_commercial=True,
    how_to_get="https://doi.org/10.5683/SP2/E8H2MF",
    citation="Pichora-Fuller and Dupuis, Toronto emotional speech set (TESS), Borealis, 2020",
    note="Two .wav files are AIFF; they are read by content.",
)
