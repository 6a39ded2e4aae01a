# SPDX-License-Identifier: Apache-2.0
"""Hash files and values: equal content gives equal digests, in every process and on every machine."""

import hashlib
import json
from os import PathLike
from typing import Any

from tqdm.auto import tqdm


_BLOCK = 1 << 20


def file_sha256(path: str | PathLike, bar: tqdm | None = None) -> str:
    """Return the SHA-256 of a file's content in hexadecimal, as `sha256sum` prints it; `bar` counts the bytes read."""
    content = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            content.update(block)
            if bar is not None:
                bar.update(len(block))
    return content.hexdigest()


def digest(*parts: Any) -> str:
    """
    Return one SHA-256 over several parts, in 64 hexadecimal digits: the key of whatever depends on all of them.

    Args:
        parts: in a fixed order, each one of
            - bytes, or a NumPy array of numbers: data type, shape and content.
            - anything else that `json.dumps` takes; the order of the keys of a dict does not matter.

    Raises:
        TypeError: a part is none of these.
    """
    total = hashlib.sha256()
    for part in parts:
        try:
            view = memoryview(part)
        except TypeError:
            _update(total, "json", json.dumps(part, sort_keys=True).encode())
        else:
            content = hashlib.sha256(view if view.c_contiguous else view.tobytes())
            _update(total, f"{view.format}({','.join(map(str, view.shape or ()))},)", content.digest())
    return total.hexdigest()


def _update(total: Any, kind: str, content: bytes) -> None:
    # With kind and length in front, no two lists of parts run together to the same bytes.
    total.update(f"{kind}:{len(content)}:".encode())
    total.update(content)
