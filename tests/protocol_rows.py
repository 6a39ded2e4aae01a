# SPDX-License-Identifier: Apache-2.0
"""Create rows for any protocol: ten speakers in five sessions and three splits, and an M5SER translation of a row."""

from itertools import count

from mser_llm.data.corpora import CORPORA
from mser_llm.data.schema import new_row
from mser_llm.evaluation.protocols import Protocol


WITHOUT_SPEAKERS = ("resd",)


def row(number: int, corpus: str, speaker: str | None, emotion: str, split: str | None = None, **more):
    """Create the row of a clip of two seconds."""
    created = new_row(
        id=f"clip{number}",
        path=f"/data/{corpus}/clip{number}.wav",
        corpus=corpus,
        emotion=emotion,
        language=CORPORA[corpus].language if corpus in CORPORA else "en",
        speaker=speaker and f"{corpus}-{speaker}",
        gender=None if speaker is None else "female" if int(speaker) % 2 else "male",
        duration=2.0,
        split=split,
    )
    return created | more


def rows_for(protocol: Protocol):
    """
    Create rows of ten speakers per corpus, with a clip of each label and of one emotion outside the protocol.

    Every speaker is in every split, as in MELD and RESD; in IEMOCAP two speakers are in each session.
    """
    number, rows = count(), []
    for corpus in protocol.corpora:
        for speaker in range(10):
            for index, emotion in enumerate((*protocol.labels, "frustrated")):
                split = f"session{speaker // 2 + 1}" if corpus == "iemocap" else ("train", "dev", "test")[index % 3]
                name = None if corpus in WITHOUT_SPEAKERS else str(speaker)
                rows.append(row(next(number), corpus, name, emotion, split))
    return rows


def translated(source, language: str = "fr", **more):
    """Create the row of M5SER for a row."""
    identity = f"{source['corpus']}/{source['id']}/{language}"
    own = source | {"id": identity, "audio": {"bytes": b"", "path": f"{identity}.flac"}, "corpus": "m5ser"}
    own |= {"language": language, "split": "train", "source_id": source["id"], "source_corpus": source["corpus"]}
    return own | {"translator": "echo"} | more
