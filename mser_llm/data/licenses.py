# SPDX-License-Identifier: Apache-2.0
"""What may be done with a corpus that was made of others: the terms of its sources and of its translator."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mser_llm.data.corpora import CORPORA, FOLDER
from mser_llm.data.synthesis.demo_speech import DEMO_CORPUS
from mser_llm.data.translator import translator_class


# Terms that ask for no more than being named: under stricter ones beside them, the stricter ones hold for the whole.
_PERMISSIVE = ("cc0-1.0", "mit", "apache-2.0", "cc-by-4.0")


@dataclass(frozen=True)
class Terms:
    """What a source corpus or a translator lets others do with what comes of it."""

    name: str
    title: str
    license: str
    redistribution: bool
    """Whether it may be passed on; False where the license does not say so."""
    non_commercial: bool
    how_to_get: str = ""
    citation: str = ""

    @property
    def hub_license(self) -> str | None:
        """The Hub's name for the license; None where it has none, such as for a corpus's own agreement."""
        words = self.license.strip().lower()
        if words in ("mit", "apache-2.0"):
            return words
        if re.fullmatch(r"cc0([ -]1\.0)?", words):
            return "cc0-1.0"
        creative = re.fullmatch(r"cc[ -](by(?:-nc)?(?:-sa|-nd)?)[ -](\d\.\d)", words)
        return f"cc-{creative[1]}-{creative[2]}" if creative else None


def source_terms(name: str) -> Terms:
    """The terms of a source corpus, by its name in `source_corpus`.

    The user's own folder is the user's to publish. A corpus that is not declared may not be passed on.
    """
    if name == FOLDER:
        license = "set by whoever made them"
        return Terms(name, "own recordings", license, True, False, how_to_get="whoever built this data set")
    if name == DEMO_CORPUS:
        # Sentences of this project, and what a synthesiser under the GPL speaks is not under the GPL.
        return Terms(name, "this project's synthetic speech", "Apache-2.0", True, False, how_to_get="run-mser demo")
    if name not in CORPORA:
        return Terms(name, name, "unknown", redistribution=False, non_commercial=True)
    spec = CORPORA[name]
    return Terms(
        name=name,
        title=spec.title,
        license=spec.license,
        redistribution=spec.redistribution,
        non_commercial=spec.non_commercial,
        how_to_get=spec.how_to_get,
        citation=spec.citation,
    )


def translator_terms(name: str) -> Terms:
    """The terms under which a translator's output stands; a translator that cannot be found binds like an unknown."""
    try:
        found = translator_class(name)
    except (ValueError, ImportError):
        return Terms(name, name, "unknown", redistribution=False, non_commercial=True)
    license = found.license or "unknown"
    return Terms(name, f"the translator {name}", license, found.redistribution, found.non_commercial)


def card_license(terms: Iterable[Terms]) -> dict[str, Any]:
    """The license entries of a card: a license of the Hub's where one covers all, else `other` with a name.

    Non-commercial terms anywhere make the whole non-commercial.
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


def without_redistribution(terms: Iterable[Terms]) -> Sequence[Terms]:
    """Those that do not let anyone publish what is made of them."""
    return [one for one in terms if not one.redistribution]
