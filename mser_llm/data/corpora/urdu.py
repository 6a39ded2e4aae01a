# SPDX-License-Identifier: Apache-2.0
"""URDU."""

from mser_llm.data.corpora.spec import CorpusSpec, Rule


CORPUS = CorpusSpec(
    name="urdu",
    title="URDU",
    language="ur",
    pattern=r"S(?P<speaker>(?P<gender>[MF])\d+)_F(?P<file>\d+)_(?P<emotion>[AHNS])(?P<number>\d+)",
    example="SM1_F1_A1",
    labels={"A": "angry", "H": "happy", "N": "neutral", "S": "sad"},
    gender=Rule("{gender}", {"F": "female", "M": "male"}),
    expected=dict.fromkeys(("neutral", "happy", "sad", "angry"), 100),
    speakers=29,
    license="for research",
    redistribution=False,
    non_commercial=True,
    how_to_get="https://github.com/siddiquelatif/URDU-Dataset",
    citation=(
        "Latif, Qayyum, Usman and Qadir, Cross Lingual Speech Emotion Recognition: Urdu vs. Western Languages, "
        "FIT 2018"
    ),
    note="Its file names have 29 speakers, its README 38; 86 % of the clips are male.",
)
