# SPDX-License-Identifier: Apache-2.0
"""MSP-Podcast."""

from mser_llm.data.corpora.spec import CorpusSpec, DelimitedTable, LineTable, Rule


CORPUS = CorpusSpec(
    name="msp-podcast",
    title="MSP-Podcast",
    language="en",
    pattern=(
        r"MSP-PODCAST_(?:(?P<podcast>\d{4})_(?P<segment>\d{4})(?:_(?P<part>\d{4}))?|(?P<hidden>test3)_(?P<number>\d+))"
    ),
    example="MSP-PODCAST_0001_0008",
    labels={
        "A": "angry",
        "S": "sad",
        "H": "happy",
        "U": "surprise",
        "F": "fear",
        "D": "disgust",
        "C": "contempt",
        "N": "neutral",
        "O": "other",
    },
    emotion=Rule("{EmoClass}"),
    # 30 and Spkr_30 are the same speaker; Unknown is none.
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
            contents="the splits of clips without a label",
            lists_clips=False,
        ),
        DelimitedTable(
            {"labels_consensus.csv": {}, "labels_concensus.csv": {}},
            key=Rule("{FileName}"),
            contents="emotions",
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
    note="It grows: state the release with every result.",
)
