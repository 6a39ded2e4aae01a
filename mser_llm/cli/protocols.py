# SPDX-License-Identifier: Apache-2.0
"""`run-mser protocols`: list the evaluation protocols of the papers with their published results.

run-mser protocols
run-mser protocols iemocap-7 en+pl-to-de
"""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mser_llm.cli.dataclass_arguments import option


if TYPE_CHECKING:
    from mser_llm.evaluation.protocols import Protocol


HELP = "List the evaluation protocols, or show some with their published results and notes."
_WIDTH = 100


@dataclass
class ProtocolsArguments:
    names: list[str] = option([], "protocols to show; default: list all", positional=True, metavar="NAME")


ARGUMENTS = ProtocolsArguments


def run(args: ProtocolsArguments) -> int:
    """Print the list, or one block per name."""
    from mser_llm.evaluation.protocols import PROTOCOLS, find_protocol

    if args.names:
        print("\n\n".join(format_protocol(find_protocol(name)) for name in args.names))
        return 0
    width = max(map(len, PROTOCOLS))
    print(f"{'protocol':<{width}}  {'clips':>5}  labels  test")
    for name, protocol in PROTOCOLS.items():
        corpora = ", ".join(protocol.tested_corpora)
        print(
            f"{name:<{width}}  {sum(protocol.expected.values()):>5}  {len(protocol.labels):>6}  "
            f"{corpora}: {protocol.split}"
        )
    print("\nFor other cross-lingual settings with four classes, use names such as en+pl-to-de.")
    print("Show labels, published results and notes with run-mser protocols NAME.")
    return 0


def format_protocol_results(protocol: "Protocol", results: Mapping[str, Any]) -> str:
    """Format the clips, means over folds and published results of a protocol for `run-mser evaluate`."""
    from mser_llm.evaluation.protocols import format_published
    from mser_llm.evaluation.tables import METRIC_NAMES

    plan = results["protocol"]
    counts = [f"{corpus} {plan['found'].get(corpus, 0)} of {clips}" for corpus, clips in plan["expected"].items()]
    counts += [f"{count} {reason} left out" for reason, count in plan["left_out"].items()]
    fold = f", {plan['fold']}" if plan["fold"] else ""
    lines = ["", f"{protocol.name}{fold}: {protocol.title}; clips found: {', '.join(counts)}"]
    if "over_folds" in plan:
        means = [f"{METRIC_NAMES[name]} {of['mean']:.3f} ± {of['std']:.3f}" for name, of in plan["over_folds"].items()]
        lines.append(f"mean over the folds: {', '.join(means)}")
    metrics = results.get("pooled") or next(iter(results["corpora"].values()))
    lines += [
        format_published(protocol, metrics),
        f"(notes: run-mser protocols {protocol.name})",
        "",
    ]
    return "\n".join(lines)


def format_protocol(protocol: "Protocol") -> str:
    """Format a protocol in at most 100 columns, except for its table."""
    from mser_llm.evaluation.protocols import format_published

    merged = ", ".join(f"{word} counts as {into}" for word, into in protocol.labels.merges.items())
    limits = (protocol.min_seconds, protocol.max_seconds)
    details = {
        "source": protocol.source,
        "labels": ", ".join(protocol.labels) + (f" ({merged})" if merged else ""),
        "test": str(protocol.split),
        "clips": ", ".join(f"{corpus} {clips}" for corpus, clips in protocol.expected.items()) or "unknown",
        "lengths": "{:g} to {:g} s".format(*limits) if None not in limits else "all",
        "choice": protocol.assumption or "",
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
