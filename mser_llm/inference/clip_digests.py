# SPDX-License-Identifier: Apache-2.0
"""A clip named by what its file holds, whatever the file and the corpus are called."""

import hashlib
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any


def content_of(source: Any) -> str | None:
    """SHA-256 of a clip's file, in hexadecimal digits; as the key of a training clip.

    Args:
        source: a path, bytes or `{"bytes", "path"}`.

    Returns:
        None for other forms of sound, and for a file that cannot be read.
    """
    source = _file(source)
    if isinstance(source, (str, PathLike)):
        try:
            source = Path(source).read_bytes()
        except OSError:
            return None
    return hashlib.sha256(source).hexdigest() if isinstance(source, (bytes, bytearray)) else None


def size_of(source: Any) -> int | None:
    """Bytes in a clip's file, without reading it: files of different sizes differ in content.

    Args:
        source: as `content_of` takes it.

    Returns:
        None for other forms of sound, and for a file that is not there.
    """
    source = _file(source)
    if isinstance(source, (str, PathLike)):
        try:
            return Path(source).stat().st_size
        except OSError:
            return None
    return len(source) if isinstance(source, (bytes, bytearray)) else None


def _file(source: Any) -> Any:
    """The content or the path of a clip; None of a waveform."""
    if not isinstance(source, Mapping):
        return source
    if "array" in source:
        return None
    content = source.get("bytes")
    return source.get("path") if content is None else content
