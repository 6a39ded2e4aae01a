# SPDX-License-Identifier: Apache-2.0
"""SAVEE."""

from mser_llm.data.corpora.spec import CorpusSpec, Rule


CORPUS = CorpusSpec(
    name="savee",
    title="SAVEE",
    language="en",
    # DC_a01 in the common copy, the folder DC with a01 in it as published.
    pattern=r"(?P<speaker>[A-Z]{2})[_/](?P<emotion>sa|su|[adfhn])(?P<number>\d{2})",
    example="DC_a01",
    labels={"a": "angry", "d": "disgust", "f": "fear", "h": "happy", "n": "neutral", "sa": "sad", "su": "surprise"},
    id=Rule("{speaker}_{emotion}{number}"),
    gender=Rule("male"),
    expected=dict.fromkeys(("happy", "sad", "angry", "surprise", "disgust", "fear"), 60) | {"neutral": 120},
    speakers=4,
    license="for research, after registration",
    redistribution=False,
    non_commercial=True,
    how_to_get="http://kahlan.eps.surrey.ac.uk/savee/Download.html",
    citation="Jackson and Haq, Surrey Audio-Visual Expressed Emotion (SAVEE) Database, University of Surrey, 2014",
)
