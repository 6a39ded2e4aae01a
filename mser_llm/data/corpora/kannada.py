# SPDX-License-Identifier: Apache-2.0
"""Kannada emotional speech."""

from mser_llm.data.corpora.spec import CorpusSpec


CORPUS = CorpusSpec(
    name="kannada",
    title="Kannada emotional speech",
    language="kn",
    pattern=r"(?P<speaker>0[1-9]|1[0-3])-(?P<emotion>0[1-6])-(?P<sentence>0[1-6])",
    example="01-04-06",
    labels={"01": "angry", "02": "sad", "03": "surprise", "04": "happy", "05": "fear", "06": "neutral"},
    expected=dict.fromkeys(("angry", "sad", "surprise", "happy", "fear", "neutral"), 78),
    speakers=13,
    license="CC BY 4.0",
    redistribution=True,
    non_commercial=False,
    how_to_get="https://zenodo.org/records/6345107",
    citation="Kannada Emotional Speech Dataset, Zenodo, 2022, https://zenodo.org/records/6345107",
    note="Volunteers in uncontrolled places.",
)
