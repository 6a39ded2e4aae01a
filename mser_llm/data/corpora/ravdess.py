# SPDX-License-Identifier: Apache-2.0
"""RAVDESS, the speech part."""

from mser_llm.data.corpora.spec import CorpusSpec, Rule


CORPUS = CorpusSpec(
    name="ravdess",
    title="RAVDESS, the speech part",
    language="en",
    pattern=(
        r"(?P<modality>0[1-3])-(?P<channel>0[12])-(?P<emotion>0[1-8])-(?P<intensity>0[12])-"
        r"(?P<statement>0[12])-(?P<repetition>0[12])-(?P<actor>0[1-9]|1\d|2[0-4])"
    ),
    example="03-01-05-02-01-01-12",
    labels={
        "01": "neutral",
        "02": "calm",
        "03": "happy",
        "04": "sad",
        "05": "angry",
        "06": "fear",
        "07": "disgust",
        "08": "surprise",
    },
    speaker=Rule("{actor}"),
    # Odd actors are male.
    gender=Rule("{actor}", {f"{actor:02d}": "male" if actor % 2 else "female" for actor in range(1, 25)}),
    transcript=Rule("{statement}", {"01": "Kids are talking by the door", "02": "Dogs are sitting by the door"}),
    skip={
        "modality": {"01": "video with sound, which repeats the audio-only clip", "02": "video without sound"},
        "channel": {"02": "song"},
    },
    expected={"neutral": 96} | dict.fromkeys(("calm", "happy", "sad", "angry", "fear", "disgust", "surprise"), 192),
    speakers=24,
    license="CC BY-NC-SA 4.0",
    redistribution=True,
    non_commercial=True,
    how_to_get="https://zenodo.org/records/1188976, file Audio_Speech_Actors_01-24.zip",
    citation=(
        "Livingstone and Russo, The Ryerson Audio-Visual Database of Emotional Speech and Song (RAVDESS), "
        "PLoS ONE 13(5), 2018, e0196391"
    ),
)
