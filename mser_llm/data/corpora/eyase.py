# SPDX-License-Identifier: Apache-2.0
"""EYASE, Egyptian Arabic semi-natural emotion speech."""

from mser_llm.data.corpora.spec import CorpusSpec


CORPUS = CorpusSpec(
    name="eyase",
    title="EYASE, Egyptian Arabic semi-natural emotion speech",
    language="ar",
    pattern=r"(?P<speaker>[fm]m?\d{2})_(?P<emotion>ang|hap|neu|sad) \((?P<number>\d+)\)",
    example="fm01_ang (12)",
    labels={"ang": "angry", "hap": "happy", "neu": "neutral", "sad": "sad"},
    expected={"angry": 150, "happy": 132, "neutral": 150, "sad": 147},
    speakers=6,
    license="not stated",
    redistribution=False,
    non_commercial=True,
    how_to_get="its authors",
    citation=(
        "Abdel-Hamid, Egyptian Arabic speech emotion recognition using prosodic, spectral and wavelet features, "
        "Speech Communication 122, 2020"
    ),
    note="Speech of actors in a television series.",
)
