# SPDX-License-Identifier: Apache-2.0
"""EMOVO."""

from mser_llm.data.corpora.spec import CorpusSpec, Rule


CORPUS = CorpusSpec(
    name="emovo",
    title="EMOVO",
    language="it",
    pattern=r"(?P<emotion>dis|gio|neu|pau|rab|sor|tri)-(?P<speaker>(?P<gender>[fm])\d)-(?P<sentence>[a-z]\d)",
    example="dis-f1-b1",
    labels={
        "dis": "disgust",
        "gio": "happy",
        "neu": "neutral",
        "pau": "fear",
        "rab": "angry",
        "sor": "surprise",
        "tri": "sad",
    },
    gender=Rule("{gender}", {"f": "female", "m": "male"}),
    expected=dict.fromkeys(("neutral", "happy", "sad", "angry", "surprise", "disgust", "fear"), 84),
    speakers=6,
    license="for research",
    redistribution=False,
    non_commercial=True,
    how_to_get="http://voice.fub.it/activities/corpora/emovo/index.html",
    citation=(
        "Costantini, Iaderola, Paoloni and Todisco, EMOVO Corpus: an Italian Emotional Speech Database, LREC 2014"
    ),
)
