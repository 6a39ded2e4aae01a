# SPDX-License-Identifier: Apache-2.0
"""A folder of recordings without labels."""

from mser_llm.data.corpora.spec import NULL, CorpusSpec


CORPUS = CorpusSpec(
    name="unlabeled",
    title="recordings without labels",
    language="many",
    # The complete path, because recordings in different folders may have the same name.
    pattern=r"\A.+",
    example="monday/call_17",
    speaker=NULL,
    license="set by their owner",
    redistribution=True,
    non_commercial=False,
    how_to_get="your own recordings",
    citation="no publication",
    note="Any audio files in any folders. No emotions, speakers or languages: for BYOL training.",
)
