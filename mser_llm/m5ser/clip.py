# SPDX-License-Identifier: Apache-2.0
"""What flows through the pipeline: a source clip on its way to a row of the corpus, or to one of the rejects."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from datatrove.data import Document

from processing_mser.audio_mser import SAMPLING_RATE


CLIP = "clip"
"""The key of a document's metadata under which its [`Clip`] is."""


@dataclass(frozen=True)
class Rejection:
    """Why a clip has no row."""

    stage: str
    """`read`, `translate`, `filter` or `quality`."""
    reason: str
    value: float | None = None
    """What was measured, where something was."""


@dataclass
class Clip:
    """One source row in one target language."""

    row: dict[str, Any]
    """The source's, of `ROW_SCHEMA`."""
    language: str
    source: np.ndarray | None = None
    """float32 (samples,) at 16 kHz, as the recording is."""
    speech: np.ndarray | None = None
    """float32 (samples,) at 16 kHz, as the row will have it."""
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
        """Of `speech`."""
        assert self.speech is not None
        return len(self.speech) / SAMPLING_RATE

    def reject(self, stage: str, reason: str, value: float | None = None) -> None:
        """Take the clip out; its sound is let go."""
        self.rejection = Rejection(stage, reason, value)
        self.source = self.speech = None


def audible(samples: np.ndarray) -> bool:
    """Whether anything is left of a sound (samples,) in the 16 bits in which a row keeps it."""
    return bool((np.abs(samples) > 0.5 / 32768).any())


def clip_of(document: Document) -> Clip:
    """The clip that a document carries."""
    return document.metadata[CLIP]
