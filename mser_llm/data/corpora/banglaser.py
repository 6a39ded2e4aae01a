# SPDX-License-Identifier: Apache-2.0
"""BanglaSER."""

from mser_llm.data.corpora.spec import CorpusSpec, Rule


CORPUS = CorpusSpec(
    name="banglaser",
    title="BanglaSER",
    language="bn",
    # RAVDESS's names, with other codes.
    pattern=(
        r"(?P<modality>0[1-3])-(?P<channel>0[12])-(?P<emotion>0[1-5])-(?P<intensity>0[12])-"
        r"(?P<statement>0[1-3])-(?P<repetition>0[1-3])-(?P<actor>0[1-9]|[12]\d|3[0-4])"
    ),
    example="03-01-05-01-02-01-12",
    labels={"01": "happy", "02": "sad", "03": "angry", "04": "surprise", "05": "neutral"},
    speaker=Rule("{actor}"),
    skip={
        "stem": {
            "03-01-01-01-01-03-17": "the same recording as 03-01-01-01-01-01-17",
            "03-01-01-01-03-03-15": "the same recording as 03-01-01-01-03-01-15",
        }
    },
    # Without the two repeated recordings.
    expected={"happy": 304, "sad": 306, "angry": 306, "surprise": 306, "neutral": 243},
    speakers=34,
    license="CC BY 4.0",
    redistribution=True,
    non_commercial=False,
    how_to_get="https://data.mendeley.com/datasets/t9h6p943xy/5",
    citation=(
        "Das, Islam, Ahmed, Islam, Shatabda and Islam, BanglaSER: A speech emotion recognition dataset for the Bangla "
        "language, Data in Brief 42, 2022, 108091"
    ),
    note="Its files are named like those of RAVDESS, whose codes mean other emotions.",
)
