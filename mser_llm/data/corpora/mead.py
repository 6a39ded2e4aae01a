# SPDX-License-Identifier: Apache-2.0
"""MEAD, emotional talking faces."""

from mser_llm.data.corpora.spec import CorpusSpec, Rule


CORPUS = CorpusSpec(
    name="mead",
    title="MEAD, emotional talking faces",
    language="en",
    pattern=(
        r"(?P<speaker>(?P<gender>[MW])\d{3})/audio/"
        # Neutral has one intensity only.
        r"(?:(?P<emotion>angry|contempt|disgusted|fear|happy|sad|surprised)/level_[123]|(?P<calm>neutral)/level_1)/"
        r"(?P<number>\d{3})"
    ),
    example="M003/audio/angry/level_1/001",
    labels={
        "angry": "angry",
        "contempt": "contempt",
        "disgusted": "disgust",
        "fear": "fear",
        "happy": "happy",
        "neutral": "neutral",
        "sad": "sad",
        "surprised": "surprise",
    },
    emotion=Rule("{emotion}{calm}"),
    gender=Rule("{gender}", {"M": "male", "W": "female"}),
    expected_total=31_729,
    speakers=48,
    license="for research, on request",
    redistribution=False,
    non_commercial=True,
    how_to_get="https://wywu.github.io/projects/MEAD/MEAD.html; convert its .m4a files",
    citation=(
        "Wang, Wu, Song, Yang, Wu, Qian, He, Qiao and Loy, MEAD: A Large-scale Audio-visual Dataset for Emotional "
        "Talking-face Generation, ECCV 2020"
    ),
    note="The paper of M5SER spells it MAED.",
)
