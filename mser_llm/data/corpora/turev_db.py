# SPDX-License-Identifier: Apache-2.0
"""TurEV-DB, Turkish emotion voice database."""

from mser_llm.data.corpora.spec import CorpusSpec


CORPUS = CorpusSpec(
    name="turev-db",
    title="TurEV-DB, Turkish emotion voice database",
    language="tr",
    pattern=r"(?P<speaker>\d+)_(?P<emotion>kz|sk|mt|hl)_(?P<word>[^/]+)",
    example="1157_kz_acik",
    labels={"kz": "angry", "sk": "calm", "mt": "happy", "hl": "sad"},
    expected={"happy": 357, "sad": 483, "angry": 487, "calm": 408},
    speakers=6,
    license="CC BY-NC-ND 4.0",
    # No derivatives: not even a copy in another codec may be redistributed.
    redistribution=False,
    non_commercial=True,
    how_to_get="https://github.com/Xeonen/TurEV-DB",
    citation="Canpolat, Ormanoğlu and Zeyrek, Turkish Emotion Voice Database (TurEV-DB), SLTU-CCURL 2020",
    note="Single words, not sentences.",
)
