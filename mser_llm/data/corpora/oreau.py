# SPDX-License-Identifier: Apache-2.0
"""Oréau, French emotional speech."""

from mser_llm.data.corpora.spec import CorpusSpec, Rule


CORPUS = CorpusSpec(
    name="oreau",
    title="Oréau, French emotional speech",
    language="fr",
    pattern=r"(?P<speaker>\d{2})(?P<sentence>[a-z]\d{2})(?P<emotion>[CDJNPST])(?P<version>[a-z]?)",
    example="10a02Ja",
    labels={"C": "angry", "D": "disgust", "J": "happy", "N": "neutral", "P": "fear", "S": "surprise", "T": "sad"},
    gender=Rule("{sex}"),
    folders={"sex": {"f": "female", "m": "male"}},
    # With a composed and a decomposed accent.
    skip_folders=dict.fromkeys(("or\u00e9aufr_01", "ore\u0301aufr_01"), "the folder OréauFR_01; OréauFR_02 is used"),
    expected={"angry": 67, "disgust": 67, "happy": 62, "neutral": 70, "fear": 51, "surprise": 62, "sad": 55},
    speakers=32,
    license="CC BY 4.0",
    redistribution=True,
    non_commercial=False,
    how_to_get="https://zenodo.org/records/4405783",
    citation="French Emotional Speech Database - Oréau, Zenodo, 2020, https://zenodo.org/records/4405783",
)
