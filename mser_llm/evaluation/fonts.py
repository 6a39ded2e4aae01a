# SPDX-License-Identifier: Apache-2.0
"""Fonts for words in any script: matplotlib's own has no Chinese, Japanese, Korean, Devanagari, …"""

import warnings
from contextlib import suppress
from unicodedata import category

from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text


def set_fallback_fonts(figure: Figure) -> None:
    """
    Gives the texts of a figure, where the usual font lacks characters of theirs, installed ones beside it that have
    them. Where there is none, a warning says which words the picture shows as boxes.
    """
    usual = FontProperties()
    known = set(FT2Font(findfont(usual)).get_charmap())
    # Matplotlib's own font of last resort has a box for every character.
    names = sorted({font.name for font in fontManager.ttflist if not font.name.startswith("Last Resort")})
    for text in figure.findobj(Text):
        drawn = (character for character in text.get_text() if category(character) not in ("Cc", "Cf"))
        missing = {ord(character) for character in drawn} - known
        if not missing:
            continue
        others = []
        for name in names:
            if not missing:
                break
            with suppress(RuntimeError, OSError, ValueError):  # a font that cannot be read has no characters
                # A list, as a name by itself is read as a pattern, in which - and : have a meaning.
                font = findfont(FontProperties(family=[name]), fallback_to_default=False)
                found = missing & set(FT2Font(font).get_charmap())
                others += [name] if found else []
                missing -= found
        text.set_fontfamily([*usual.get_family(), *others])
        if missing:
            warnings.warn(
                f"no font of this machine has the characters of {text.get_text()!r}, which the picture shows as "
                "boxes; install one (Noto has all scripts)",
                stacklevel=2,
            )


__all__ = ["set_fallback_fonts"]
