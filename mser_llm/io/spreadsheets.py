# SPDX-License-Identifier: Apache-2.0
"""Read tables as spreadsheets save them, and escape cells that a spreadsheet would run as a formula.

File names, speakers and generated text are untrusted: `=HYPERLINK(...)` in one of them would become a live cell.
"""

import codecs
import re
from os import PathLike
from pathlib import Path


# The first characters of a formula in Excel, LibreOffice and Google Sheets, also as full-width forms and after white
# space and apostrophes; and control characters that some of them ignore.
_FORMULA = re.compile(r"['\s]*[=+\-@＝＋－＠]|'*[\t\r\n]")


def escape_formula(text: str) -> str:
    """Put an apostrophe, which marks text in a spreadsheet, before a formula; other text is returned unchanged."""
    return f"'{text}" if _FORMULA.match(text) else text


def unescape_formula(text: str) -> str:
    """Undo `escape_formula`, exactly, for any text."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text[1:]) else text


# The mark of little-endian UTF-32 starts with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_table_text(path: str | PathLike, errors: str = "strict") -> str:
    """
    Decode a table by its byte order mark; without one as UTF-8, or as UTF-16 if one of the first two bytes is zero.

    Raises:
        UnicodeDecodeError: the bytes are invalid in the detected encoding.
        OSError: the file cannot be read.
    """
    data = Path(path).read_bytes()
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    if encoding is None:
        encoding = {b"\0": "utf-16-be"}.get(data[:1]) or {b"\0": "utf-16-le"}.get(data[1:2]) or "utf-8"
    return data.decode(encoding, errors)
