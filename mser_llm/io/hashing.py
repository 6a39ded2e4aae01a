# SPDX-License-Identifier: Apache-2.0
"""Hash files and values: equal content gives equal digests, in every process and on every machine."""

import hashlib
import json
from os import PathLike, fspath
from typing import Any

from tqdm.auto import tqdm


_BLOCK = 1 << 20


def file_sha256(path: str | PathLike, bar: tqdm | None = None) -> str:
    """Return the SHA-256 of a file's content in hexadecimal, as `sha256sum` prints it; `bar` counts the bytes read."""
    content = hashlib.sha256()
    _update_from_file(content, path, bar)
    return content.hexdigest()


def digest(*parts: Any) -> str:
    """
    Return one SHA-256 over several parts, in 64 hexadecimal digits: the key of whatever depends on all of them.

    Args:
        parts: in a fixed order, each one of
            - a `Path`: the content of the file, not its name. Equal to the digest of its bytes.
            - bytes, or a NumPy array of numbers: data type, shape and content.
            - anything else that `json.dumps` takes; the order of the keys of a dict does not matter.

    Raises:
        TypeError: a part is none of these.
        OSError: a file cannot be read.
    """
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, PathLike):
            content = hashlib.sha256()
            size = _update_from_file(content, part)
            _update(total, f"B({size},)", content.digest())
        elif (view := _buffer(part)) is not None:
            content = hashlib.sha256(view if view.c_contiguous else view.tobytes())
            _update(total, f"{view.format}({','.join(map(str, view.shape or ()))},)", content.digest())
        else:
            _update(total, "json", json.dumps(part, sort_keys=True).encode())
    return total.hexdigest()


def _update_from_file(content: Any, path: str | PathLike, bar: tqdm | None = None) -> int:
    size = 0
    with open(fspath(path), "rb") as file:
        while block := file.read(_BLOCK):
            content.update(block)
            size += len(block)
            if bar is not None:
                bar.update(len(block))
    return size


def _buffer(part: Any) -> memoryview | None:
    try:
        return memoryview(part)
    except TypeError:
        return None


def _update(total: Any, kind: str, content: bytes) -> None:
    # With kind and length in front, no two lists of parts run together to the same bytes.
    total.update(f"{kind}:{len(content)}:".encode())
    total.update(content)
