# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from mser_llm.data.translator import SourceClip


@pytest.fixture
def make_clips():
    """Return a function that generates different clips with given ids."""

    def make(*ids: str, repeats: int = 1, **fields) -> list[SourceClip]:
        fields = {"language": "en", "transcript": "hello", "source_corpus": "test"} | fields
        rng = np.random.default_rng(0)
        waves = [np.tile(rng.uniform(-0.5, 0.5, 4_000 + n), repeats).astype(np.float32) for n in range(len(ids))]
        return [SourceClip(id=id, waveform=wave, **fields) for id, wave in zip(ids, waves)]

    return make
