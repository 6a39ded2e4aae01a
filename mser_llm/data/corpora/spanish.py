# SPDX-License-Identifier: Apache-2.0
"""A collection of acted Castilian Spanish whose publication is unknown."""

from mser_llm.data.corpora.spec import CorpusSpec


CORPUS = CorpusSpec(
    name="spanish",
    title="Castilian Spanish of sixteen amateurs",
    language="es",
    # Published without a name: data/SPEAKER/Alegria_1. One speaker has Ira__1, another has a Neutro without a number.
    pattern=(
        r"(?P<folder>data|tests)/(?P<speaker>\d+|Test\d+)/"
        r"(?P<emotion>Alegria|Asco|Ira|Miedo|Neutro|Sorpresa|Tristeza)(?:__?(?P<number>\d+))?"
    ),
    example="data/1/Alegria_1",
    labels={
        "Alegria": "happy",
        "Asco": "disgust",
        "Ira": "angry",
        "Miedo": "fear",
        "Neutro": "neutral",
        "Sorpresa": "surprise",
        "Tristeza": "sad",
    },
    expected={"happy": 186, "disgust": 191, "angry": 188, "fear": 191, "neutral": 183, "surprise": 190, "sad": 192},
    speakers=16,
    license="not stated",
    redistribution=False,
    non_commercial=True,
    how_to_get="no public source is known",
    citation="unpublished recordings of sixteen amateurs",
    note="The expected counts are those of the copy that this project knows.",
)
