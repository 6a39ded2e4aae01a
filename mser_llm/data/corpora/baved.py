# SPDX-License-Identifier: Apache-2.0
"""BAVED, basic Arabic vocal emotions."""

from mser_llm.data.corpora.spec import CorpusSpec, Rule


CORPUS = CorpusSpec(
    name="baved",
    title="BAVED, basic Arabic vocal emotions",
    language="ar",
    pattern=(r"(?P<speaker>\d+)-(?P<gender>[fmFM])-(?P<age>\d+)-(?P<word>[0-6])-(?P<level>[0-2])-(?P<record>\d+)"),
    example="12-m-21-0-2-345",
    gender=Rule("{gender}", {"f": "female", "F": "female", "m": "male", "M": "male"}),
    transcript=Rule(
        "{word}",
        {"0": "اعجبني", "1": "لم يعجبني", "2": "هذا", "3": "الفيلم", "4": "رائع", "5": "مقول", "6": "سيئ"},
    ),
    expected_total=1935,
    speakers=61,
    license="not stated",
    redistribution=False,
    non_commercial=True,
    how_to_get="https://www.kaggle.com/a13x10/basic-arabic-vocal-emotions-dataset",
    citation="BAVED, Basic Arabic Vocal Emotions Dataset, Kaggle, 2020",
    note="Single words. Its labels are three levels of arousal, not emotions, so its clips count as unlabeled.",
)
