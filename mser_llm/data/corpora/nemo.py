# SPDX-License-Identifier: Apache-2.0
"""nEMO, Polish emotional speech."""

from mser_llm.data.corpora.spec import CorpusSpec, DelimitedTable, Rule


CORPUS = CorpusSpec(
    name="nemo",
    title="nEMO, Polish emotional speech",
    language="pl",
    pattern=r"(?P<speaker>[A-Z]{2}\d)_(?P<emotion>[a-z]+)_(?P<number>\d+)",
    example="SK0_anger_12",
    labels={
        "anger": "angry",
        "fear": "fear",
        "happiness": "happy",
        "neutral": "neutral",
        "sadness": "sad",
        "surprised": "surprise",
    },
    gender=Rule("{gender}", {"female": "female", "male": "male"}),
    transcript=Rule("{raw_text}"),
    tables=(
        DelimitedTable({"data.tsv": {}}, key=Rule("{file_id}"), contents="genders and transcripts", delimiter="\t"),
    ),
    expected={"angry": 749, "fear": 736, "happy": 749, "neutral": 809, "sad": 769, "surprise": 669},
    speakers=9,
    license="CC BY-NC-SA 4.0",
    redistribution=True,
    non_commercial=True,
    how_to_get="https://github.com/amu-cai/nEMO, the folder samples and data.tsv",
    citation="Christop, nEMO: Dataset of Emotional Speech in Polish, LREC-COLING 2024",
)
