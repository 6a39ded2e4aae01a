# SPDX-License-Identifier: Apache-2.0
"""CASIA, Mandarin emotional speech: the part of 1200 clips in use."""

from mser_llm.data.corpora.spec import CorpusSpec, Rule


_SPEAKERS = "liuchanhg|wangzhe|zhaoquanyin|ZhaoZuoxiang"
_EMOTIONS = ("angry", "fear", "happy", "neutral", "sad", "surprise")
_WORDS = "|".join(_EMOTIONS)

CORPUS = CorpusSpec(
    name="casia",
    title="CASIA, the part of 1200 clips",
    language="zh",
    # SPEAKER/angry/201 as published, 201-angry-SPEAKER in copies.
    pattern=(
        rf"(?:(?P<folder>{_SPEAKERS})/(?P<emotion>{_WORDS})/(?P<text>\d{{3}})|"
        rf"(?P<number>\d{{3}})-(?P<word>{_WORDS})-(?P<name>{_SPEAKERS}))"
    ),
    example="201-angry-wangzhe",
    labels={word: word for word in _EMOTIONS},
    id=Rule("{folder}{name}-{emotion}{word}-{text}{number}"),
    emotion=Rule("{emotion}{word}"),
    speaker=Rule("{folder}{name}"),
    expected=dict.fromkeys(_EMOTIONS, 200),
    speakers=4,
    license="by agreement with the Institute of Automation, Chinese Academy of Sciences",
    redistribution=False,
    non_commercial=True,
    how_to_get="the Institute of Automation, Chinese Academy of Sciences",
    citation="Institute of Automation, Chinese Academy of Sciences, CASIA Mandarin emotional corpus",
)
