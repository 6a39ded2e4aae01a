# SPDX-License-Identifier: Apache-2.0
"""Clips within limits of length, which their headers tell."""

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import soundfile
from tqdm.auto import tqdm


Row = Mapping[str, Any]


def within_seconds(rows: Sequence[Row], shortest: float, longest: float) -> tuple[list[Row], dict[str, int]]:
    """The rows whose clips last from `shortest` to `longest` seconds, and how many do not, by reason.

    A row without a duration has its clip's header read. A clip whose header cannot be read stays: what reads it
    afterwards reports it.
    """
    with ThreadPoolExecutor() as pool:
        found = pool.map(_seconds, rows)
        lengths = list(tqdm(found, total=len(rows), desc="Reading lengths", unit="clip", leave=False, disable=None))
    kept, left_out = [], Counter[str]()
    for row, seconds in zip(rows, lengths, strict=True):
        if seconds is not None and seconds < shortest:
            left_out[f"shorter than {shortest:g} s"] += 1
        elif seconds is not None and seconds > longest:
            left_out[f"longer than {longest:g} s"] += 1
        else:
            kept.append(row)
    return kept, dict(sorted(left_out.items()))


def _seconds(row: Row) -> float | None:
    if row["duration"] is not None:
        return row["duration"]
    audio = row["audio"]
    try:
        info = soundfile.info(audio["path"] if audio["bytes"] is None else io.BytesIO(audio["bytes"]))
    except (OSError, soundfile.SoundFileError):
        return None
    return info.frames / info.samplerate
