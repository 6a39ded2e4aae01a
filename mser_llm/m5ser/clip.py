# SPDX-License-Identifier: Apache-2.0
"""The item of the pipeline: a source clip that becomes a row of the corpus or a reject."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from datatrove.data import Document

from processing_mser.audio_mser import SAMPLING_RATE


CLIP = "clip"
"""Key of the [`Clip`] in a document's metadata."""


@dataclass(frozen=True)
class Rejection:
    """Why a clip has no row."""

    stage: str
    """`read`, `translate`, `filter` or `quality`."""
    reason: str
    value: float | None = None
    """The measured value, if any."""


@dataclass
class Clip:
    """One source row in one target language."""

    row: dict[str, Any]
    """Of the source, in `ROW_SCHEMA`."""
    language: str
    source: np.ndarray | None = None
    """The recording: float32 (samples,) at 16 kHz."""
    speech: np.ndarray | None = None
    """What the row will contain: float32 (samples,) at 16 kHz."""
    transcript: str | None = None
    """Of `speech`."""
    translator: str | None = None
    """None for a source that becomes a row itself."""
    rejection: Rejection | None = None

    @property
    def id(self) -> str:
        return f"{self.row['corpus']}/{self.row['id']}/{self.language}"

    @property
    def seconds(self) -> float:
        """Duration of `speech`."""
        assert self.speech is not None
        return len(self.speech) / SAMPLING_RATE

    def reject(self, stage: str, reason: str, value: float | None = None) -> None:
        """Mark the clip as rejected and free its samples."""
        self.rejection = Rejection(stage, reason, value)
        self.source = self.speech = None


def audible(samples: np.ndarray) -> bool:
    """Whether any sample (samples,) is nonzero after rounding to 16 bits."""
    return bool((np.abs(samples) > 0.5 / 32768).any())


def clip_of(document: Document) -> Clip:
    """Return the clip of a document."""
    return document.metadata[CLIP]
