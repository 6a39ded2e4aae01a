# SPDX-License-Identifier: Apache-2.0
"""Speech whose emotions stand in tables beside it: dialogues, series, podcasts."""

from mser_llm.data.corpora.rule import Rule
from mser_llm.data.corpora.spec import CorpusSpec
from mser_llm.data.corpora.tables import DelimitedTable, LineTable


_UTTERANCE = r"(?P<utterance>Ses0[1-5][MF]_\w+)"

LABELLED_BY_TABLES = (
    CorpusSpec(
        name="iemocap",
        title="IEMOCAP",
        language="en",
        pattern=(
            r"Ses0(?P<session>[1-5])(?P<wears>[MF])_(?P<scene>impro|script)(?P<scenario>\d{2}(?:_\d)?[ab]?)_"
            r"(?P<gender>[MF])(?P<turn>(?:XX)?\d+)"
        ),
        example="Ses01F_impro01_F000",
        emotion=Rule("{label}"),
        # The first letter says who wears the markers in this dialogue, the second who speaks this turn.
        speaker=Rule("Ses0{session}{gender}"),
        gender=Rule("{gender}", {"F": "female", "M": "male"}),
        transcript=Rule("{words}"),
        split=Rule("session{session}"),
        skip={"label": {"xxx": "its listeners agree on no emotion (xxx)"}},
        skip_folders={"dialog": "whole dialogues"},
        tables=(
            LineTable(
                # The folders below it hold each listener's own labels.
                {"Session*/dialog/EmoEvaluation/*.txt": {}},
                key=Rule("{utterance}"),
                line=rf"\[\s*[\d.]+\s*-\s*[\d.]+\s*\]\s+{_UTTERANCE}\s+(?P<label>[a-z]+)\s",
                holds="emotions",
                required=True,
            ),
            LineTable(
                {"Session*/dialog/transcriptions/*.txt": {}},
                key=Rule("{utterance}"),
                line=rf"{_UTTERANCE}\s+\[[^\]]*\]:\s*(?P<words>.*)",
                holds="transcripts",
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
    ),
    CorpusSpec(
        name="meld",
        title="MELD, scenes of a television series",
        language="en",
        pattern=r"(?P<copy>final_videos_test)?dia(?P<dialogue>\d+)_utt(?P<utterance>\d+)",
        example="train_splits/dia0_utt0",
        # The same names come again in every split.
        id=Rule("{split}/dia{dialogue}_utt{utterance}"),
        emotion=Rule("{Emotion}"),
        speaker=Rule("{Speaker}"),
        gender=Rule(
            "{Speaker}",
            dict.fromkeys(("Monica", "Phoebe", "Rachel"), "female")
            | dict.fromkeys(("Chandler", "Joey", "Ross"), "male"),
        ),
        transcript=Rule("{Utterance}"),
        split=Rule("{split}"),
        folders={
            "split": {
                "train_splits": "train",
                "dev_splits_complete": "dev",
                "output_repeated_splits_test": "test",
                "train": "train",
                "dev": "dev",
                "test": "test",
            }
        },
        skip={
            "copy": {"final_videos_test": "final_videos_test, which repeats clips of the test"},
            "id": dict.fromkeys(("train/dia125_utt3", "dev/dia110_utt7"), "broken as published"),
        },
        tables=(
            DelimitedTable(
                {f"{split}_sent_emo.csv": {"split": split} for split in ("train", "dev", "test")},
                key=Rule("{split}/dia{Dialogue_ID}_utt{Utterance_ID}"),
                of=Rule("{split}/dia{dialogue}_utt{utterance}"),
                holds="emotions",
                required=True,
            ),
        ),
        # Train, dev and test.
        expected={
            "neutral": 4709 + 469 + 1256,
            "happy": 1743 + 163 + 402,
            "sad": 683 + 111 + 208,
            "angry": 1109 + 153 + 345,
            "surprise": 1205 + 150 + 281,
            "disgust": 271 + 22 + 68,
            "fear": 268 + 40 + 50,
        },
        expected_splits={"train": 9988, "dev": 1108, "test": 2610},
        license="GPL-3.0 for the labels; the series is under copyright",
        redistribution=False,
        non_commercial=True,
        how_to_get="https://github.com/declare-lab/MELD, MELD.Raw; its clips are .mp4: take the sound out",
        citation=(
            "Poria, Hazarika, Majumder, Naik, Cambria and Mihalcea, MELD: A Multimodal Multi-Party Dataset for "
            "Emotion Recognition in Conversations, ACL 2019"
        ),
        note="The six main characters speak in all three splits: its own split is not speaker-independent.",
    ),
    CorpusSpec(
        name="msp-podcast",
        title="MSP-Podcast",
        language="en",
        pattern=(
            r"MSP-PODCAST_(?:(?P<podcast>\d{4})_(?P<segment>\d{4})(?:_(?P<part>\d{4}))?|(?P<hidden>test3)_(?P<number>\d+))"
        ),
        example="MSP-PODCAST_0001_0008",
        emotion=Rule("{EmoClass}"),
        # 30 and Spkr_30 are one speaker in two ways of writing; Unknown is nobody.
        speaker=Rule("{SpkrID}", pattern=r"(?:Spkr_)?(\d+)"),
        gender=Rule("{Gender}", {"Male": "male", "Female": "female"}),
        split=Rule(
            "{Split_Set}",
            {
                "Train": "train",
                "Development": "development",
                "Validation": "development",
                "Test1": "test1",
                "Test2": "test2",
            },
        ),
        skip={
            "hidden": {"test3": "test3, whose labels are hidden"},
            "Split_Set": {"Test3": "test3, whose labels are hidden"},
            "EmoClass": {"X": "its listeners agree on no emotion (X)"},
        },
        tables=(
            LineTable(
                {"Partition.txt": {}, "Partitions.txt": {}, "partitions.txt": {}},
                key=Rule("{file}"),
                line=r"(?P<Split_Set>\w+)\s*;\s*(?P<file>MSP-PODCAST_\w+)",
                holds="the splits of clips without a label",
                lists_clips=False,
            ),
            DelimitedTable(
                {"labels_consensus.csv": {}, "labels_concensus.csv": {}},
                key=Rule("{FileName}"),
                holds="emotions",
                required=True,
            ),
        ),
        release=r"(?i)(?:msp[-_ ]?podcast|release)[^/]*?v?(\d+\.\d+)",
        license="by agreement with the University of Texas at Dallas",
        redistribution=False,
        non_commercial=True,
        how_to_get="https://ecs.utdallas.edu/research/researchlabs/msp-lab/MSP-Podcast.html",
        citation=(
            "Lotfian and Busso, Building Naturalistic Emotionally Balanced Speech Corpus by Retrieving Emotional "
            "Speech From Existing Podcast Recordings, IEEE Transactions on Affective Computing 10(4), 2019"
        ),
        note="It grows: name the release beside every figure.",
    ),
)
