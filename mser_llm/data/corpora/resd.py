# SPDX-License-Identifier: Apache-2.0
"""RESD, Russian emotional speech dialogs."""

from mser_llm.data.corpora.spec import NULL, CorpusSpec, ParquetClips, Rule


CORPUS = CorpusSpec(
    name="resd",
    title="RESD, Russian emotional speech dialogs",
    language="ru",
    pattern=(r"(?P<dialogue>\d+)_(?P<first>[a-z]+)_(?P<second>[a-z]+)[_ ](?P<emotion>[adefhns])_(?P<number>\d+)"),
    example="32_happiness_enthusiasm_h_120",
    labels={"a": "angry", "d": "disgust", "e": "enthusiasm", "f": "fear", "h": "happy", "n": "neutral", "s": "sad"},
    # Speakers are not published; all 50 dialogues are in both splits.
    speaker=NULL,
    split=Rule("{split}"),
    folders={"split": {"train": "train", "test": "test"}},
    parquet=ParquetClips(name="name", audio="speech"),
    expected={"neutral": 191, "happy": 218, "sad": 162, "angry": 219, "disgust": 185, "fear": 223, "enthusiasm": 198},
    expected_splits={"train": 1116, "test": 280},
    license="MIT",
    redistribution=True,
    non_commercial=False,
    how_to_get="https://huggingface.co/datasets/Aniemore/resd, the folder data with its Parquet files",
    citation="Aniemore, Russian Emotional Speech Dialogs, 2022, doi:10.57967/hf/1273",
    note="Speakers are unknown, and every dialogue is in both splits: the published split is not speaker-independent.",
)
