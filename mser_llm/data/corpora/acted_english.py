# SPDX-License-Identifier: Apache-2.0
"""English, acted, and told by file names alone."""

from mser_llm.data.corpora.rule import Rule
from mser_llm.data.corpora.spec import CorpusSpec
from mser_llm.data.corpora.tables import DelimitedTable


ACTED_ENGLISH = (
    CorpusSpec(
        name="mead",
        title="MEAD, emotional talking faces",
        language="en",
        pattern=(
            r"(?P<speaker>(?P<gender>[MW])\d{3})/audio/"
            # Neutral was recorded at one intensity only.
            r"(?:(?P<emotion>angry|contempt|disgusted|fear|happy|sad|surprised)/level_[123]|(?P<calm>neutral)/level_1)/"
            r"(?P<number>\d{3})"
        ),
        example="M003/audio/angry/level_1/001",
        emotion=Rule("{emotion}{calm}"),
        gender=Rule("{gender}", {"M": "male", "W": "female"}),
        expected_total=31_729,
        speakers=48,
        license="for research, asked for",
        redistribution=False,
        non_commercial=True,
        how_to_get="https://wywu.github.io/projects/MEAD/MEAD.html; the audio is .m4a: convert it",
        citation=(
            "Wang, Wu, Song, Yang, Wu, Qian, He, Qiao and Loy, MEAD: A Large-scale Audio-visual Dataset for Emotional "
            "Talking-face Generation, ECCV 2020"
        ),
        note="The paper of M5SER writes MAED.",
    ),
    CorpusSpec(
        name="ravdess",
        title="RAVDESS, the speech part",
        language="en",
        pattern=(
            r"(?P<modality>0[1-3])-(?P<channel>0[12])-(?P<emotion>0[1-8])-(?P<intensity>0[12])-"
            r"(?P<statement>0[12])-(?P<repetition>0[12])-(?P<actor>0[1-9]|1\d|2[0-4])"
        ),
        example="03-01-05-02-01-01-12",
        speaker=Rule("{actor}"),
        # Odd actors are male.
        gender=Rule("{actor}", {f"{actor:02d}": "male" if actor % 2 else "female" for actor in range(1, 25)}),
        transcript=Rule("{statement}", {"01": "Kids are talking by the door", "02": "Dogs are sitting by the door"}),
        skip={
            "modality": {"01": "video with sound, which repeats the audio-only clip", "02": "video without sound"},
            "channel": {"02": "song"},
        },
        expected={"neutral": 96}
        | dict.fromkeys(("calm", "happy", "sad", "angry", "fear", "disgust", "surprise"), 192),
        speakers=24,
        license="CC BY-NC-SA 4.0",
        redistribution=True,
        non_commercial=True,
        how_to_get="https://zenodo.org/records/1188976, file Audio_Speech_Actors_01-24.zip",
        citation=(
            "Livingstone and Russo, The Ryerson Audio-Visual Database of Emotional Speech and Song (RAVDESS), "
            "PLoS ONE 13(5), 2018, e0196391"
        ),
    ),
    CorpusSpec(
        name="tess",
        title="TESS, Toronto emotional speech set",
        language="en",
        # An older and a younger woman; the F is missing in some names, and copies put words around the name.
        pattern=(
            r"[^/]*?(?P<speaker>OA|YA)F?_(?P<word>[a-z]+)_"
            r"(?P<emotion>angry|disgust|fear|happy|neutral|ps|sad)(?![a-z])[^/]*"
        ),
        example="OAF_back_angry",
        gender=Rule("female"),
        transcript=Rule("Say the word {word}"),
        expected=dict.fromkeys(("neutral", "happy", "sad", "angry", "surprise", "disgust", "fear"), 400),
        speakers=2,
        license="CC BY-NC-ND 4.0",
        # No derivatives: a translation, or even another codec, may not be passed on.
        redistribution=False,
        non_commercial=True,
        how_to_get="https://doi.org/10.5683/SP2/E8H2MF",
        citation="Pichora-Fuller and Dupuis, Toronto emotional speech set (TESS), Borealis, 2020",
        note="Two files are AIFF with a .wav name, which is read by content.",
    ),
    CorpusSpec(
        name="crema-d",
        title="CREMA-D",
        language="en",
        pattern=(
            r"(?P<speaker>\d{4})_(?P<sentence>[A-Z]{3})_(?P<emotion>ANG|DIS|FEA|HAP|NEU|SAD)_"
            # One published name ends in a single X.
            r"(?P<intensity>[A-Z]{1,2})"
        ),
        example="1001_DFA_ANG_XX",
        gender=Rule("{Sex}", {"Male": "male", "Female": "female"}),
        transcript=Rule(
            "{sentence}",
            {
                "IEO": "It's eleven o'clock.",
                "TIE": "That is exactly what happened.",
                "IOM": "I'm on my way to the meeting.",
                "IWW": "I wonder what this is about.",
                "TAI": "The airplane is almost full.",
                "MTI": "Maybe tomorrow it will be cold.",
                "IWL": "I would like a new alarm clock.",
                "ITH": "I think I have a doctor's appointment.",
                "DFA": "Don't forget a jacket.",
                "ITS": "I think I've seen this before.",
                "TSI": "The surface is slick.",
                "WSI": "We'll stop in a couple of minutes.",
            },
        ),
        tables=(
            DelimitedTable(
                {"VideoDemographics.csv": {}},
                key=Rule("{ActorID}"),
                of=Rule("{speaker}"),
                holds="genders",
                lists_clips=False,
            ),
        ),
        expected=dict.fromkeys(("happy", "sad", "angry", "disgust", "fear"), 1271) | {"neutral": 1087},
        speakers=91,
        license="ODbL 1.0",
        redistribution=True,
        non_commercial=False,
        how_to_get="https://github.com/CheyneyComputerScience/CREMA-D, AudioWAV and VideoDemographics.csv",
        citation=(
            "Cao, Cooper, Keutmann, Gur, Nenkova and Verma, CREMA-D: Crowd-sourced Emotional Multimodal Actors "
            "Dataset, IEEE Transactions on Affective Computing 5(4), 2014"
        ),
    ),
    CorpusSpec(
        name="savee",
        title="SAVEE",
        language="en",
        # DC_a01 in the common copy, the folder DC with a01 in it as published.
        pattern=r"(?P<speaker>[A-Z]{2})[_/](?P<emotion>sa|su|[adfhn])(?P<number>\d{2})",
        example="DC_a01",
        id=Rule("{speaker}_{emotion}{number}"),
        gender=Rule("male"),
        expected=dict.fromkeys(("happy", "sad", "angry", "surprise", "disgust", "fear"), 60) | {"neutral": 120},
        speakers=4,
        license="for research, after registration",
        redistribution=False,
        non_commercial=True,
        how_to_get="http://kahlan.eps.surrey.ac.uk/savee/Download.html",
        citation="Jackson and Haq, Surrey Audio-Visual Expressed Emotion (SAVEE) Database, University of Surrey, 2014",
    ),
)
