# SPDX-License-Identifier: Apache-2.0
"""ASED, Amharic speech emotion dataset."""

from mser_llm.data.corpora.spec import CorpusSpec, Rule


CORPUS = CorpusSpec(
    name="ased",
    title="ASED, Amharic speech emotion dataset",
    language="am",
    pattern=(
        r"(?P<emotion>[nfhsaS])(?P<level>[1-5])-(?P<sentence>0[1-7])-(?P<take>0[12])-(?P<gender>0[12])-"
        r"(?P<speaker>\d{2})"
    ),
    example="n1-01-01-02-15",
    labels={"n": "neutral", "f": "fear", "h": "happy", "s": "sad", "S": "sad", "a": "angry"},
    gender=Rule("{gender}", {"01": "female", "02": "male"}),
    expected={"neutral": 522, "happy": 486, "sad": 470, "angry": 486, "fear": 510},
    speakers=65,
    license="not stated",
    redistribution=False,
    non_commercial=True,
    how_to_get="https://github.com/Ethio2021/ASED_V1",
    citation=(
        "Retta, Almekhlafi, Sutcliffe, Mhamed, Ali and Feng, A New Amharic Speech Emotion Dataset and "
        "Classification Benchmark, ACM TALLIP 22(1), 2023"
    ),
    note="Five speakers have both genders in the file names, read as null.",
)
