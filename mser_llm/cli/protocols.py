# SPDX-License-Identifier: Apache-2.0
"""`run-mser protocols`: the tests of the papers as this project runs them, with what they published.

run-mser protocols
run-mser protocols iemocap-7 en+pl-to-de
"""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from mser_llm.evaluation.protocols import Protocol


HELP = "List the protocols, or show some with their published numbers and notes."
_WIDTH = 100


@dataclass
class ProtocolsArguments:
    names: list[str] = field(
        default_factory=list,
        metadata={"positional": True, "metavar": "NAME", "help": "protocols to show in full; without, all are listed"},
    )


ARGUMENTS = ProtocolsArguments


def run(args: ProtocolsArguments) -> int:
    """Prints the list, or one block for each name."""
    from mser_llm.evaluation.protocols import PROTOCOLS, find_protocol

    if args.names:
        print("\n\n".join(described(find_protocol(name)) for name in args.names))
        return 0
    width = max(map(len, PROTOCOLS))
    print(f"{'protocol':<{width}}  {'clips':>5}  words  test")
    for name, protocol in PROTOCOLS.items():
        corpora = ", ".join(protocol.tested_corpora)
        print(
            f"{name:<{width}}  {sum(protocol.expected.values()):>5}  {len(protocol.labels):>5}  "
            f"{corpora}: {protocol.split}"
        )
    print("\nfour classes, any languages to another: en+pl-to-de")
    print("run-mser protocols NAME shows the words, the published numbers and what to know")
    return 0


def beside_published(protocol: "Protocol", results: Mapping[str, Any]) -> str:
    """What `run-mser evaluate` says of a protocol: its clips, the means over folds, and the published numbers."""
    from mser_llm.evaluation.protocols.published import format_published
    from mser_llm.evaluation.tables import METRIC_NAMES

    told = results["protocol"]
    counts = [f"{corpus} {told['found'].get(corpus, 0)} of {clips}" for corpus, clips in told["expected"].items()]
    counts += [f"{count} {reason} left out" for reason, count in told["left_out"].items()]
    fold = f", {told['fold']}" if told["fold"] else ""
    lines = ["", f"{protocol.name}{fold}: {protocol.title}; clips found: {', '.join(counts)}"]
    if "over_folds" in told:
        means = [f"{METRIC_NAMES[name]} {of['mean']:.3f} ± {of['std']:.3f}" for name, of in told["over_folds"].items()]
        lines.append(f"mean over the folds: {', '.join(means)}")
    figures = results.get("pooled") or next(iter(results["corpora"].values()))
    lines += [
        format_published(protocol, figures),
        f"(run-mser protocols {protocol.name} says what to know of them)",
        "",
    ]
    return "\n".join(lines)


def described(protocol: "Protocol") -> str:
    """Everything about a protocol, at most 100 columns wide but for its table."""
    from mser_llm.evaluation.protocols.published import format_published

    merged = ", ".join(f"{word} counts as {into}" for word, into in protocol.labels.merges.items())
    limits = (protocol.min_seconds, protocol.max_seconds)
    details = {
        "from": protocol.source,
        "words": ", ".join(protocol.labels) + (f" ({merged})" if merged else ""),
        "test": str(protocol.split),
        "clips": ", ".join(f"{corpus} {clips}" for corpus, clips in protocol.expected.items()) or "not known",
        "lengths": "{:g} to {:g} s".format(*limits) if None not in limits else "all",
        "ours": protocol.assumption or "",
    }
    trains = [corpus for corpus in protocol.corpora if corpus not in protocol.tested_corpora]
    details["train"] = ", ".join(trains)
    lines = [f"{protocol.name}: {protocol.title}"]
    for title, text in [*details.items(), *(("note", note) for note in protocol.notes)]:
        if text:
            start = f"  {title:<8}"
            lines += textwrap.wrap(text, _WIDTH, initial_indent=start, subsequent_indent=" " * len(start))
    if protocol.published:
        lines += ["", textwrap.indent(format_published(protocol), "  ")]
    return "\n".join(lines)
