# SPDX-License-Identifier: Apache-2.0
"""Read the text of a table as spreadsheets save it: UTF-8 or UTF-16, with or without a byte order mark."""

import codecs
from os import PathLike
from pathlib import Path


# The mark of UTF-32 in little endian begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def table_text(path: str | PathLike, errors: str = "strict") -> str:
    """Decode a table by its byte order mark; without one as UTF-8, or UTF-16 where every other byte is zero.

    Args:
        path: the file.
        errors: as for `bytes.decode`.

    Raises:
        UnicodeDecodeError: the bytes are not of the detected encoding.
        OSError: the file cannot be read.
    """
    data = Path(path).read_bytes()
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    if encoding is None:
        encoding = {b"\0": "utf-16-be"}.get(data[:1]) or {b"\0": "utf-16-le"}.get(data[1:2]) or "utf-8"
    return data.decode(encoding, errors)
