# SPDX-License-Identifier: Apache-2.0
"""Escape text that a spreadsheet would run as a formula when it opens a CSV file, and restore it on reading.

File names, speakers and generated text come from strangers; `=HYPERLINK(...)` in one of them would become a live cell.
"""

import re


# What Excel, LibreOffice and Google Sheets take for the beginning of a formula, in full width too, behind white space
# and apostrophes; and the control characters that some of them drop.
_FORMULA = re.compile(r"['\s]*[=+\-@＝＋－＠]|'*[\t\r\n]")


def escape_formula(text: str) -> str:
    """Put an apostrophe, a spreadsheet's mark of text, before a formula; other text is returned unchanged."""
    return f"'{text}" if _FORMULA.match(text) else text


def unescape_formula(text: str) -> str:
    """Undo `escape_formula`, exactly, for any text."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text[1:]) else text
