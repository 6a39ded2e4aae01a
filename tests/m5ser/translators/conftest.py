# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest

from mser_llm.data.translator import SourceClip


@pytest.fixture
def misbehaving(monkeypatch) -> str:
    """Make the misbehaving translator importable, and return its name."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return "misbehaving_translator:Misbehaving"


@pytest.fixture
def make_clips():
    """Return a function that generates different clips with given ids."""

    def make(*ids: str, **fields) -> list[SourceClip]:
        fields = {"language": "en", "transcript": "hello", "source_corpus": "test"} | fields
        rng = np.random.default_rng(0)
        return [
            SourceClip(id=id, waveform=rng.uniform(-0.5, 0.5, 4_000 + n).astype(np.float32), **fields)
            for n, id in enumerate(ids)
        ]

    return make
