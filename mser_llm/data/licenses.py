# SPDX-License-Identifier: Apache-2.0
"""Derive the license of a data set or model from the terms of its sources and translators."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from mser_llm.data.corpora import CORPORA, FOLDER
from mser_llm.data.synthesis.demo_speech import DEMO_CORPUS
from mser_llm.data.translator import translator_class


# Licenses that require attribution at most. Combined with stricter ones, the stricter ones apply.
_PERMISSIVE = ("cc0-1.0", "mit", "apache-2.0", "cc-by-4.0")


@dataclass(frozen=True)
class Terms:
    """The terms that a source corpus or a translator puts on derived data."""

    name: str
    title: str
    license: str
    redistribution: bool
    """Whether the license permits redistribution; False if it does not say."""
    non_commercial: bool
    how_to_get: str = ""
    citation: str = ""

    @property
    def hub_license(self) -> str | None:
        """The Hub's identifier of the license; None if it has none, such as for a corpus's own agreement."""
        words = self.license.strip().lower()
        if words in ("mit", "apache-2.0"):
            return words
        if re.fullmatch(r"cc0([ -]1\.0)?", words):
            return "cc0-1.0"
        creative = re.fullmatch(r"cc[ -](by(?:-nc)?(?:-sa|-nd)?)[ -](\d\.\d)", words)
        return f"cc-{creative[1]}-{creative[2]}" if creative else None


def source_terms(name: str) -> Terms:
    """
    Return the terms of a source corpus by its name in `source_corpus`.

    Users may publish their own folder. An unknown corpus may not be redistributed.
    """
    if name == FOLDER:
        license = "set by their owner"
        return Terms(name, "own recordings", license, True, False, how_to_get="the publisher of this data set")
    if name == DEMO_CORPUS:
        # The sentences are this project's; the output of eSpeak NG is not under its GPL.
        return Terms(name, "this project's synthetic speech", "Apache-2.0", True, False, how_to_get="run-mser demo")
    if name not in CORPORA:
        return Terms(name, name, "unknown", redistribution=False, non_commercial=True)
    return Terms(**{field.name: getattr(CORPORA[name], field.name) for field in fields(Terms)})


def translator_terms(name: str) -> Terms:
    """Return the terms of a translator's output; those of an unknown license if the translator cannot be found."""
    try:
        found = translator_class(name)
    except (ValueError, ImportError):
        return Terms(name, name, "unknown", redistribution=False, non_commercial=True)
    license = found.license or "unknown"
    return Terms(name, f"the translator {name}", license, found.redistribution, found.non_commercial)


def card_license(terms: Iterable[Terms]) -> dict[str, Any]:
    """
    Return the license entries of a card: the identifier of the Hub if one license covers all terms, else `other`.

    If any of the terms are non-commercial, so is the result.
    """
    terms = list(terms)
    strict = {one.hub_license for one in terms} - {*_PERMISSIVE}
    names = strict or {one.hub_license for one in terms if one.hub_license == "cc-by-4.0"}
    names = names or {one.hub_license for one in terms}
    non_commercial = any(one.non_commercial for one in terms)
    (name, *others) = sorted(names, key=str) or [None]
    if name is not None and not others and (not non_commercial or "-nc" in name):
        return {"license": name}
    kind = "non-commercial-by-source" if non_commercial else "by-source"
    return {"license": "other", "license_name": kind, "license_link": "README.md"}
