# SPDX-License-Identifier: Apache-2.0
"""Emozionalmente, crowdsourced Italian emotional speech."""

from mser_llm.data.corpora.spec import CorpusSpec, DelimitedTable, Rule


CORPUS = CorpusSpec(
    name="emozionalmente",
    title="Emozionalmente",
    language="it",
    pattern=r"(?P<time>\d{13})",
    example="1613658366455",
    labels={
        "anger": "angry",
        "disgust": "disgust",
        "fear": "fear",
        "joy": "happy",
        "neutrality": "neutral",
        "sadness": "sad",
        "surprise": "surprise",
    },
    # What the speaker was asked to express; evaluations.csv has what listeners recognized.
    emotion=Rule("{emotion_expressed}"),
    speaker=Rule("{actor}"),
    gender=Rule("{gender}", {"female": "female", "male": "male"}),
    transcript=Rule("{sentence}"),
    tables=(
        DelimitedTable({"samples.csv": {}}, key=Rule("{file_name}"), contents="emotions", required=True),
        DelimitedTable(
            {"users.csv": {}},
            key=Rule("{username}"),
            clip_key=Rule("{actor}"),
            contents="genders",
            lists_clips=False,
        ),
    ),
    expected=dict.fromkeys(("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"), 986),
    speakers=431,
    license="CC BY 4.0",
    redistribution=True,
    non_commercial=False,
    how_to_get="https://zenodo.org/records/6569824",
    citation="Catania, Emozionalmente: a crowdsourced Italian speech emotional corpus, Zenodo, 2022",
    note="Amateurs with their own microphones.",
)
