# SPDX-License-Identifier: Apache-2.0
"""What a file holds, as one short text: two files of one digest are copies of each other."""

import hashlib
from pathlib import Path

from tqdm.auto import tqdm


_BLOCK = 1 << 20


def file_sha256(path: Path, bar: tqdm | None = None) -> str:
    """The SHA-256 of a file's content; the bar goes on by the bytes that were read."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            if bar is not None:
                bar.update(len(block))
    return digest.hexdigest()
