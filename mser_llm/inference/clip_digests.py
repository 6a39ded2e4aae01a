# SPDX-License-Identifier: Apache-2.0
"""Identify clips by the content of their files, whatever the file and the corpus are called."""

import hashlib
import os
from collections.abc import Callable, Mapping
from os import PathLike
from typing import Any

from mser_llm.io.hashing import file_sha256


def clip_sha256(source: Any) -> str | None:
    """Return the SHA-256 of a clip's file in hexadecimal, equal to the key of a training clip.

    Args:
        source: a path, bytes or `{"bytes", "path"}`.

    Returns:
        None for other forms of audio, and for a file that cannot be read.
    """
    return _measure(source, file_sha256, lambda content: hashlib.sha256(content).hexdigest())


def clip_bytes(source: Any) -> int | None:
    """Return the size of a clip's file in bytes without reading it; sources and None as in `clip_sha256`."""
    return _measure(source, os.path.getsize, len)


def clip_path(source: Any) -> str:
    """Return the path of a clip as passed; empty if it has none."""
    path = source.get("path") if isinstance(source, Mapping) else source
    return str(path) if isinstance(path, (str, PathLike)) else ""


def _measure(source: Any, by_path: Callable[[Any], Any], by_content: Callable[[Any], Any]) -> Any:
    if isinstance(source, Mapping):
        content = source.get("bytes")
        source = None if "array" in source else source.get("path") if content is None else content
    if isinstance(source, (bytes, bytearray)):
        return by_content(source)
    try:
        return by_path(source) if isinstance(source, (str, PathLike)) else None
    except OSError:
        return None
