# SPDX-License-Identifier: Apache-2.0
"""IEMOCAP."""

from mser_llm.data.corpora.spec import CorpusSpec, LineTable, Rule


_UTTERANCE = r"(?P<utterance>Ses0[1-5][MF]_\w+)"

CORPUS = CorpusSpec(
    name="iemocap",
    title="IEMOCAP",
    language="en",
    pattern=(
        r"Ses0(?P<session>[1-5])(?P<wears>[MF])_(?P<scene>impro|script)(?P<scenario>\d{2}(?:_\d)?[ab]?)_"
        r"(?P<gender>[MF])(?P<turn>(?:XX)?\d+)"
    ),
    example="Ses01F_impro01_F000",
    labels={
        "neu": "neutral",
        "hap": "happy",
        "sad": "sad",
        "ang": "angry",
        "exc": "excited",
        "fru": "frustrated",
        "sur": "surprise",
        "fea": "fear",
        "dis": "disgust",
        "oth": "other",
    },
    emotion=Rule("{label}"),
    # The first letter is who wears the markers in the dialogue, the second who speaks the turn.
    speaker=Rule("Ses0{session}{gender}"),
    gender=Rule("{gender}", {"F": "female", "M": "male"}),
    transcript=Rule("{words}"),
    split=Rule("session{session}"),
    skip={"label": {"xxx": "its listeners agree on no emotion (xxx)"}},
    skip_folders={"dialog": "whole dialogues"},
    tables=(
        LineTable(
            # Its subfolders contain the labels of single listeners.
            {"Session*/dialog/EmoEvaluation/*.txt": {}},
            key=Rule("{utterance}"),
            line=rf"\[\s*[\d.]+\s*-\s*[\d.]+\s*\]\s+{_UTTERANCE}\s+(?P<label>[a-z]+)\s",
            contents="emotions",
            required=True,
        ),
        LineTable(
            {"Session*/dialog/transcriptions/*.txt": {}},
            key=Rule("{utterance}"),
            line=rf"{_UTTERANCE}\s+\[[^\]]*\]:\s*(?P<words>.*)",
            contents="transcripts",
            lists_clips=False,
        ),
    ),
    expected={
        "neutral": 1708,
        "happy": 595,
        "sad": 1084,
        "angry": 1103,
        "excited": 1041,
        "frustrated": 1849,
        "surprise": 107,
        "fear": 40,
        "disgust": 2,
        "other": 3,
    },
    speakers=10,
    license="for research, after signing its release form",
    redistribution=False,
    non_commercial=True,
    how_to_get="https://sail.usc.edu/iemocap/",
    citation=(
        "Busso, Bulut, Lee, Kazemzadeh, Mower, Kim, Chang, Lee and Narayanan, IEMOCAP: interactive emotional "
        "dyadic motion capture database, Language Resources and Evaluation 42, 2008"
    ),
    note="The four-class task (--labels four) is 5531 clips, excited counted as happy; leave one session out.",
)
