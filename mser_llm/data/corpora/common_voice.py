# SPDX-License-Identifier: Apache-2.0
"""Mozilla Common Voice."""

from mser_llm.data.corpora.spec import CorpusSpec, DelimitedTable, Rule


CORPUS = CorpusSpec(
    name="common-voice",
    title="Mozilla Common Voice",
    language="many",
    # zh means Mandarin; the Cantonese of Hong Kong is another language.
    pattern=r"common_voice_(?P<locale>(?P<cantonese>zh-HK)|(?P<language>[a-z]{2,3})(?:-[\w-]+?)?)_(?P<number>\d+)",
    example="common_voice_fr_17299384",
    clip_language=Rule("{language}{cantonese}"),
    speaker=Rule("{client_id}"),
    gender=Rule(
        "{gender}", {"male": "male", "female": "female", "male_masculine": "male", "female_feminine": "female"}
    ),
    transcript=Rule("{sentence}"),
    split=Rule("{split}"),
    skip={"split": {"invalidated": "invalidated by listeners"}},
    tables=(
        DelimitedTable(
            # A clip of train is in validated.tsv too.
            {
                f"{split}.tsv": {"split": split}
                for split in ("train", "dev", "test", "invalidated", "validated", "other")
            },
            key=Rule("{path}"),
            contents="speakers",
            required=True,
            delimiter="\t",
            quoted=False,
        ),
    ),
    release=r"(?i)cv-corpus-(\d+\.\d+(?:-delta)?(?:-\d{4}-\d{2}-\d{2})?)",
    license="CC0 1.0",
    redistribution=True,
    non_commercial=False,
    how_to_get="https://commonvoice.mozilla.org/datasets, unpacked; it is no longer on the Hub",
    citation="Ardila et al., Common Voice: A Massively-Multilingual Speech Corpus, LREC 2020",
    note="No emotions: for speaker-contrastive and BYOL training.",
)
