# SPDX-License-Identifier: Apache-2.0
"""Acted speech whose file names tell all that is needed."""

from .spec import CorpusSpec, MetadataTable, Rule


ACTED = (
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
        licence="CC BY-NC-SA 4.0",
        how_to_get="https://zenodo.org/records/1188976, file Audio_Speech_Actors_01-24.zip",
        citation=(
            "Livingstone and Russo, The Ryerson Audio-Visual Database of Emotional Speech and Song (RAVDESS), "
            "PLoS ONE 13(5), 2018, e0196391"
        ),
    ),
    CorpusSpec(
        name="emodb",
        title="EMO-DB, the Berlin database of emotional speech",
        language="de",
        pattern=r"(?P<speaker>03|08|09|1[0-6])(?P<text>[ab]\d{2})(?P<emotion>[WLEAFTN])(?P<version>[a-z])?",
        example="03a01Fa",
        gender=Rule(
            "{speaker}",
            dict.fromkeys(("03", "10", "11", "12", "15"), "male")
            | dict.fromkeys(("08", "09", "13", "14", "16"), "female"),
        ),
        transcript=Rule(
            "{text}",
            {
                "a01": "Der Lappen liegt auf dem Eisschrank.",
                "a02": "Das will sie am Mittwoch abgeben.",
                "a04": "Heute abend könnte ich es ihm sagen.",
                "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
                "a07": "In sieben Stunden wird es soweit sein.",
                "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
                "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
                "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
                "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
                "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
            },
        ),
        expected={
            "angry": 127,
            "boredom": 81,
            "disgust": 46,
            "fear": 69,
            "happy": 71,
            "sad": 62,
            "neutral": 79,
        },
        licence="free for research",
        how_to_get="http://emodb.bilderbar.info, Download",
        citation=(
            "Burkhardt, Paeschke, Rolfes, Sendlmeier and Weiss, A database of German emotional speech, "
            "Interspeech 2005"
        ),
    ),
    CorpusSpec(
        name="nemo",
        title="nEMO, Polish emotional speech",
        language="pl",
        pattern=r"(?P<speaker>[A-Z]{2}\d)_(?P<emotion>[a-z]+)_(?P<number>\d+)",
        example="SK0_anger_12",
        gender=Rule("{gender}", {"female": "female", "male": "male"}),
        transcript=Rule("{raw_text}"),
        table=MetadataTable("data.tsv", key=Rule("{file_id}")),
        expected={"angry": 749, "fear": 736, "happy": 749, "neutral": 809, "sad": 769, "surprise": 669},
        licence="CC BY-NC-SA 4.0",
        how_to_get="https://github.com/amu-cai/nEMO, the folder samples and data.tsv",
        citation="Christop, nEMO: Dataset of Emotional Speech in Polish, LREC-COLING 2024",
    ),
)
