# SPDX-License-Identifier: Apache-2.0
"""LibriSpeech."""

from mser_llm.data.corpora.spec import CorpusSpec, LineTable, Rule


CORPUS = CorpusSpec(
    name="librispeech",
    title="LibriSpeech",
    language="en",
    pattern=r"(?P<speaker>\d+)-(?P<chapter>\d+)-(?P<number>\d{4})",
    example="1272-128104-0000",
    gender=Rule("{sex}", {"F": "female", "M": "male"}),
    transcript=Rule("{words}"),
    tables=(
        LineTable(
            {"*.trans.txt": {}},
            key=Rule("{clip}"),
            contents="transcripts",
            line=r"(?P<clip>\d+-\d+-\d{4}) (?P<words>.*)",
            lists_clips=False,
        ),
        LineTable(
            {"SPEAKERS.TXT": {}},
            key=Rule("{reader}"),
            contents="genders",
            clip_key=Rule("{speaker}"),
            line=r"(?P<reader>\d+)\s*\|\s*(?P<sex>[FM])\s*\|",
            lists_clips=False,
        ),
    ),
    license="CC BY 4.0",
    redistribution=True,
    non_commercial=False,
    how_to_get="https://www.openslr.org/12",
    citation=(
        "Panayotov, Chen, Povey and Khudanpur, Librispeech: An ASR corpus based on public domain audio books, "
        "ICASSP 2015"
    ),
    note="No emotions: for speaker-contrastive and BYOL training.",
)
