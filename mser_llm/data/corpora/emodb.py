# SPDX-License-Identifier: Apache-2.0
"""EMO-DB, the Berlin database of emotional speech."""

from mser_llm.data.corpora.spec import CorpusSpec, Rule


CORPUS = CorpusSpec(
    name="emodb",
    title="EMO-DB, the Berlin database of emotional speech",
    language="de",
    pattern=r"(?P<speaker>03|08|09|1[0-6])(?P<text>[ab]\d{2})(?P<emotion>[WLEAFTN])(?P<version>[a-z])?",
    example="03a01Fa",
    labels={"W": "angry", "L": "boredom", "E": "disgust", "A": "fear", "F": "happy", "T": "sad", "N": "neutral"},
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
    expected={"angry": 127, "boredom": 81, "disgust": 46, "fear": 69, "happy": 71, "sad": 62, "neutral": 79},
    speakers=10,
    license="free for research",
    redistribution=False,
    non_commercial=True,
    how_to_get="http://emodb.bilderbar.info, Download",
    citation=(
        "Burkhardt, Paeschke, Rolfes, Sendlmeier and Weiss, A database of German emotional speech, Interspeech 2005"
    ),
)
