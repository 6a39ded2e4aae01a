# SPDX-License-Identifier: Apache-2.0
"""Identify clips by the content of their files, whatever the file and the corpus are called."""

import hashlib
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from mser_llm.io.hashing import file_sha256


def clip_sha256(source: Any) -> str | None:
    """Return the SHA-256 of a clip's file in hexadecimal, equal to the key of a training clip.

    Args:
        source: a path, bytes or `{"bytes", "path"}`.

    Returns:
        None for other forms of audio, and for a file that cannot be read.
    """
    source = _file(source)
    if isinstance(source, (str, PathLike)):
        try:
            return file_sha256(source)
        except OSError:
            return None
    return hashlib.sha256(source).hexdigest() if isinstance(source, (bytes, bytearray)) else None


def clip_bytes(source: Any) -> int | None:
    """Return the size of a clip's file in bytes without reading it: files of different sizes have different content.

    Args:
        source: as in `clip_sha256`.

    Returns:
        None for other forms of audio, and for a missing file.
    """
    source = _file(source)
    if isinstance(source, (str, PathLike)):
        try:
            return Path(source).stat().st_size
        except OSError:
            return None
    return len(source) if isinstance(source, (bytes, bytearray)) else None


def _file(source: Any) -> Any:
    """Return the content or the path of a clip; None for a waveform."""
    if not isinstance(source, Mapping):
        return source
    if "array" in source:
        return None
    content = source.get("bytes")
    return source.get("path") if content is None else content
