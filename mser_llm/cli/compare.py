# SPDX-License-Identifier: Apache-2.0
"""`run-mser compare`: compare two systems on the clips they share.

run-mser compare runs/mine runs/baseline
run-mser compare runs/mine-0,runs/mine-1,runs/mine-2 runs/baseline-0,runs/baseline-1,runs/baseline-2
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mser_llm.cli.dataclass_arguments import option


HELP = "Compare two systems by their predictions: paired bootstrap over speakers, McNemar's test, Holm's correction."


@dataclass
class CompareArguments:
    first: str = option(
        help="a predictions.csv or an output folder of run-mser evaluate; separate seeds by commas", positional=True
    )
    second: str = option(help="the system to compare with, in the same form", positional=True)
    metric: Literal["UA", "WA", "WF1", "macro_F1", "precision"] = option("UA", "metric to compare")
    confidence: float = option(0.95, "confidence level of the interval")
    resamples: int = option(5000, "bootstrap resamples")
    output: str | None = option(None, "JSON file for all results")


ARGUMENTS = CompareArguments


def run(args: CompareArguments) -> int:
    """Print one line per corpus and one for all of them; return 0."""
    from mser_llm.evaluation.predictions import read_predictions
    from mser_llm.evaluation.statistics.comparison import compare
    from mser_llm.evaluation.statistics.resampling import check_resamples
    from mser_llm.evaluation.tables import format_metric, format_table
    from mser_llm.io.atomic_files import write_json
    from mser_llm.io.errors import InputError

    if not 0 < args.confidence < 1:
        raise InputError("--confidence", f"{args.confidence:g} is not between 0 and 1", "pass e.g. 0.95")
    check_resamples(args.resamples)
    first, second = (
        [read_predictions(place) for place in text.split(",") if place] for text in (args.first, args.second)
    )
    compared = compare(first, second, args.metric, confidence=args.confidence, resamples=args.resamples)
    result = {"first": args.first, "second": args.second, "confidence": args.confidence, **compared}
    if compared["left_out"]:
        print(f"{compared['left_out']} clips are left out because some runs lack them", file=sys.stderr)
    headers = [
        "corpus",
        *(f"{place} {args.metric}" for place in ("first", "second")),
        "difference",
        f"{100 * args.confidence:g} % interval",
        "p",
        "p (Holm)",
    ]
    pooled = {"all corpora": compared["pooled"]} if "pooled" in compared else {}
    rows = [
        [
            name,
            *(format_metric(row[system]["mean"], row[system]["std"]) for system in ("first", "second")),
            f"{row['difference']:+.3f}",
            "" if row["low"] is None else f"{row['low']:+.3f} to {row['high']:+.3f}",
            *map(_p, (row["p"], row.get("p_holm"), row.get("mcnemar", {}).get("mid_p"))),
            *(str(row[count]) for count in ("clusters", "n")),
        ]
        for name, row in {**compared["corpora"], **pooled}.items()
    ]
    print(format_table([*headers, "McNemar", "speakers", "clips"], rows, "text", text_columns=(0, 4)))
    if args.output is not None:
        write_json(Path(args.output), result)
    return 0


def _p(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}" if value >= 0.0005 else "<.001"
