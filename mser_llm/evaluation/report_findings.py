# SPDX-License-Identifier: Apache-2.0
"""What a reader of an evaluation must see first, and what lies behind it, as the report's template takes it."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mser_llm.evaluation.protocols import find_protocol
from mser_llm.evaluation.protocols.published import published_table


# More than these would push the model and its figures off the first screen.
_FIRST_GAPS = 3
HEADINGS = {"gender": "Gender", "language": "Language"}
Results = Mapping[str, Any]


def leak_warnings(results: Results) -> list[str]:
    """Sentences without which the figures mislead: that training heard what is tested, with or without emotions."""
    leak = results.get("leak") or {}
    marks = [f"{leak['mark'][0].upper()}{leak['mark'][1:]}."] if leak.get("mark") else []
    if not leak.get("found"):
        return marks
    names = [
        *(f"the corpus {name}" for name in leak["corpora"]),
        *(f"the language {name}" for name in leak["languages"]),
        *([f"{len(leak['speakers'])} of the speakers"] if leak["speakers"] else []),
        *([f"{len(leak['recordings'])} of the recordings"] if leak["recordings"] else []),
    ]
    return [
        f"Training heard what is tested here: {', '.join(names)} ({leak['clips']} of {leak['tested']} clips). These "
        "figures do not say how the model does on speech it never heard.",
        *marks,
    ]


def top_gaps(results: Results, language: Callable[[str], str]) -> dict[str, Any] | None:
    """
    The gaps between groups that stand out from chance.

    Args:
        results: of an evaluation; its `gaps` are sorted, flagged ones first.
        language: a code to the language's name.

    Returns:
        `shown`, the flagged gaps; `more`, how many further ones there are; `largest`, the largest where none is
        flagged. None for results without gaps.
    """
    if "gaps" not in results:
        return None
    found = [_named(gap, language) for gap in results["gaps"]]
    flagged = [gap for gap in found if gap["flagged"]]
    return {
        "shown": flagged[:_FIRST_GAPS],
        "more": len(flagged) - len(flagged[:_FIRST_GAPS]),
        "largest": max(found, key=lambda gap: gap["gap"], default=None),
    }


def _named(gap: Mapping[str, Any], language: Callable[[str], str]) -> dict[str, Any]:
    def name(group: str) -> str:
        return language(group) if gap["by"] == "language" else group

    bars = sorted(gap["groups"].items(), key=lambda item: item[1])
    return {
        **gap,
        "where": {"corpus": f"on {gap['name']}", "language": f"in {language(gap['name'] or '')}"}.get(
            gap["scope"], "over all corpora"
        ),
        "best_name": name(gap["best"]),
        "worst_name": name(gap["worst"]),
        "bars": [(name(group), value) for group, value in bars],
    }


def group_tables(columns: Results, language: Callable[[str], str]) -> list[tuple[str, list[tuple[str, Any]]]]:
    """
    The figures of each gender and language.

    Args:
        columns: name to the figures of a corpus or of all, each with its `groups`.
        language: a code to the language's name.

    Returns:
        `(heading, [(name of the group, its figures), …])` for each grouping of each corpus.
    """
    tables = []
    for corpus, figures in columns.items():
        for by, heading in HEADINGS.items():
            found = (figures.get("groups") or {}).get(by)
            if found:
                name = language if by == "language" else str
                tables.append((f"{heading}, {corpus}", [(name(key), row) for key, row in found["groups"].items()]))
    return tables


def speaker_ranges(columns: Results) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The worst and the best speaker of each corpus that has several."""
    for corpus, figures in columns.items():
        if "speaker" in (figures.get("groups") or {}):
            yield corpus, figures["groups"]["speaker"]


def published_comparison(results: Results, metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    """
    Return the published results of the protocol that was used, with one's own below.

    Args:
        results: of an evaluation.
        metrics: its headline.

    Returns:
        `title`, `source` and `notes` of the protocol, and `headers` and `rows` as in `published_table`. None without a
        protocol.
    """
    if "protocol" not in results:
        return None
    protocol = results["protocol"]
    headers, rows = published_table(find_protocol(protocol["name"]), metrics)
    return {**{name: protocol[name] for name in ("title", "source", "notes")}, "headers": headers, "rows": rows}
