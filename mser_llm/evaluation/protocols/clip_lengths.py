# SPDX-License-Identifier: Apache-2.0
"""Select clips by duration."""

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import soundfile
from tqdm.auto import tqdm


Row = Mapping[str, Any]


def within_seconds(rows: Sequence[Row], shortest: float, longest: float) -> tuple[list[Row], dict[str, int]]:
    """Return the rows with clips of `shortest` to `longest` seconds, and the number of others by reason.

    Missing durations are read from file headers. Clips with unreadable headers are kept and reported when they are
    read.
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
