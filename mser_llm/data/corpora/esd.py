# SPDX-License-Identifier: Apache-2.0
"""ESD, emotional speech dataset in Mandarin and English."""

from mser_llm.data.corpora.spec import CorpusSpec, Rule


_SPEAKERS = [f"{speaker:04d}" for speaker in range(1, 21)]
_MALE = {"0004", "0005", "0006", "0008", "0010", "0011", "0012", "0013", "0014", "0020"}

CORPUS = CorpusSpec(
    name="esd",
    title="ESD, emotional speech dataset",
    language="many",
    # The first release has the folders train, evaluation and test.
    pattern=(
        r"00\d\d/(?P<emotion>Angry|Happy|Neutral|Sad|Surprise)/"
        r"(?:(?P<split>train|evaluation|test)/)?(?P<speaker>00\d\d)_(?P<number>\d{6})"
    ),
    example="0011/Angry/0011_000351",
    labels={"Angry": "angry", "Happy": "happy", "Neutral": "neutral", "Sad": "sad", "Surprise": "surprise"},
    id=Rule("{speaker}_{number}"),
    clip_language=Rule("{speaker}", {speaker: "zh" if speaker <= "0010" else "en" for speaker in _SPEAKERS}),
    gender=Rule("{speaker}", {speaker: "male" if speaker in _MALE else "female" for speaker in _SPEAKERS}),
    split=Rule("{split}"),
    expected=dict.fromkeys(("angry", "happy", "neutral", "sad", "surprise"), 7000),
    speakers=20,
    license="for research, after signing its license",
    redistribution=False,
    non_commercial=True,
    how_to_get="https://github.com/HLTSingapore/Emotional-Speech-Data",
    citation=(
        "Zhou, Sisman, Liu and Li, Emotional voice conversion: Theory, databases and ESD, Speech Communication 137, "
        "2022"
    ),
    note="350 sentences in each language, each spoken by ten people in every emotion.",
)
