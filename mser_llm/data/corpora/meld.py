# SPDX-License-Identifier: Apache-2.0
"""MELD, scenes of a television series."""

from mser_llm.data.corpora.spec import CorpusSpec, DelimitedTable, Rule


CORPUS = CorpusSpec(
    name="meld",
    title="MELD, scenes of a television series",
    language="en",
    pattern=r"(?P<copy>final_videos_test)?dia(?P<dialogue>\d+)_utt(?P<utterance>\d+)",
    example="train_splits/dia0_utt0",
    labels={
        "neutral": "neutral",
        "joy": "happy",
        "surprise": "surprise",
        "anger": "angry",
        "sadness": "sad",
        "disgust": "disgust",
        "fear": "fear",
    },
    # Every split uses the same names.
    id=Rule("{split}/dia{dialogue}_utt{utterance}"),
    emotion=Rule("{Emotion}"),
    speaker=Rule("{Speaker}"),
    gender=Rule(
        "{Speaker}",
        dict.fromkeys(("Monica", "Phoebe", "Rachel"), "female") | dict.fromkeys(("Chandler", "Joey", "Ross"), "male"),
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
            clip_key=Rule("{split}/dia{dialogue}_utt{utterance}"),
            contents="emotions",
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
    how_to_get="https://github.com/declare-lab/MELD, MELD.Raw; extract the audio of its .mp4 files",
    citation=(
        "Poria, Hazarika, Majumder, Naik, Cambria and Mihalcea, MELD: A Multimodal Multi-Party Dataset for "
        "Emotion Recognition in Conversations, ACL 2019"
    ),
    note="The six main characters are in all three splits: the published split is not speaker-independent.",
)
