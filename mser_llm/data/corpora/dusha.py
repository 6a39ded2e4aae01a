# SPDX-License-Identifier: Apache-2.0
"""Dusha, the crowd part."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mser_llm.data.corpora.spec import NULL, ClipTable, CorpusSpec, Rule


@dataclass(frozen=True)
class _JsonLines(ClipTable):
    """One JSON object per line."""

    def records(self, path: Path) -> Iterator[Mapping[str, str]]:
        with open(path, encoding="utf-8") as lines:
            for line in filter(str.strip, lines):
                yield {key: value for key, value in json.loads(line).items() if isinstance(value, str)}


CORPUS = CorpusSpec(
    name="dusha",
    title="Dusha, the crowd part",
    language="ru",
    pattern=r"crowd_(?:train|test)/wavs/(?P<hash>\w+)",
    example="crowd_train/wavs/0a1b2c3d",
    labels={"angry": "angry", "sad": "sad", "neutral": "neutral", "positive": "happy", "other": "other"},
    id=Rule("{hash}"),
    speaker=NULL,
    transcript=Rule("{speaker_text}"),
    split=Rule("{split}"),
    tables=(
        _JsonLines(
            {f"aggregated_dataset/crowd_{split}.jsonl": {"split": split} for split in ("train", "test")},
            key=Rule("{hash_id}"),
            clip_key=Rule("{hash}"),
            contents="aggregated emotions",
            required=True,
        ),
    ),
    license="its own, license/en_us.pdf in its repository",
    redistribution=False,
    non_commercial=True,
    how_to_get=(
        "https://github.com/salute-developers/golos/tree/master/dusha: unpack crowd.tar and run its "
        "data_processing/processing.py, which aggregates the votes"
    ),
    citation="Kondratenko et al., Large Raw Emotional Dataset with Aggregation Mechanism, arXiv 2212.12266, 2022",
    note="The recordings of its podcast part are not published. A clip without enough agreement has no label.",
)
