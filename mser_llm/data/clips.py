# SPDX-License-Identifier: Apache-2.0
"""Index training clips: hash the audio file of each row and read its duration."""

import hashlib
import io
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile
from tqdm.auto import tqdm

from processing_mser import MAX_SECONDS, AudioError, LabelSet
from processing_mser.audio_mser import open_audio


@dataclass(frozen=True)
class Clip:
    """
    A row and what its audio file contains.

    Attributes:
        row: of the row schema.
        emotion: the row's label in the label set; `None` if the set has none for it.
        key: SHA-256 of the audio file.
        seconds: duration in the header.
    """

    row: Mapping[str, Any]
    emotion: str | None
    key: str
    seconds: float


@dataclass(frozen=True)
class Rejection:
    """A row that cannot be trained on, with the reason."""

    row: Mapping[str, Any]
    reason: str


def index_clips(
    rows: Sequence[Mapping[str, Any]], labels: LabelSet, max_seconds: float = MAX_SECONDS, min_seconds: float = 0.0
) -> tuple[list[Clip], list[Rejection]]:
    """
    Hash every file and read its header. A file that is missing, not audio, too long or too short is rejected.

    Args:
        rows: of the row schema.
        labels: the label set.
        max_seconds: longer clips are rejected, because the label of a clip need not apply to a part of it.
        min_seconds: shorter clips are rejected.
    """

    def index(row: Mapping[str, Any]) -> Clip | Rejection:
        audio, emotion = row["audio"], labels.map(row["emotion"])
        try:
            with open_audio(audio):  # raises the same errors as recognition
                data = audio["bytes"] if audio["bytes"] is not None else Path(audio["path"]).read_bytes()
                info = soundfile.info(io.BytesIO(data))
        except AudioError as error:
            return Rejection(row, str(error))
        except (OSError, soundfile.SoundFileError) as error:
            return Rejection(row, f"{audio['path']}: {error}")
        seconds = info.frames / info.samplerate
        if seconds > max_seconds:
            problem = f"longer than {max_seconds:g} s ({seconds:.1f} s)"
            return Rejection(row, str(AudioError(audio["path"], problem, "cut it into labeled pieces")))
        if seconds < min_seconds:
            problem = f"shorter than {min_seconds:g} s ({seconds:.2f} s)"
            return Rejection(row, str(AudioError(audio["path"], problem, "lower min_clip_seconds to train on it")))
        return Clip(row, emotion, hashlib.sha256(data).hexdigest(), seconds)

    with ThreadPoolExecutor() as pool:
        found = pool.map(index, rows)
        indexed = list(tqdm(found, total=len(rows), desc="Reading clips", unit="clip"))
    clips = [item for item in indexed if isinstance(item, Clip)]
    return clips, [item for item in indexed if isinstance(item, Rejection)]
