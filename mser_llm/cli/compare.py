# SPDX-License-Identifier: Apache-2.0
"""`run-mser compare`: whether one system is better than another on the clips that both answered.

run-mser compare runs/mine runs/baseline
run-mser compare runs/mine-0,runs/mine-1,runs/mine-2 runs/baseline-0,runs/baseline-1,runs/baseline-2
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal


HELP = "Compare two systems by their predictions: paired bootstrap over speakers, McNemar's test, Holm's correction."


@dataclass
class CompareArguments:
    first: str = field(
        metadata={
            "positional": True,
            "help": "a predictions.csv, or the folder that run-mser evaluate wrote it into; the runs of one system "
            "with several seeds are separated by commas",
        }
    )
    second: str = field(metadata={"positional": True, "help": "what it is compared with, in the same forms"})
    metric: Literal["UA", "WA", "WF1", "macro_F1", "precision"] = field(
        default="UA", metadata={"help": "the figure that is compared"}
    )
    confidence: float = field(default=0.95, metadata={"help": "of the interval"})
    resamples: int = field(default=5000, metadata={"help": "draws of the bootstrap"})
    output: str | None = field(default=None, metadata={"help": "file to write everything into, as JSON"})


ARGUMENTS = CompareArguments


def run(args: CompareArguments) -> int:
    """Prints one line a corpus, and one for all of them; returns 0."""
    from mser_llm.evaluation.predictions import read_predictions
    from mser_llm.evaluation.statistics.comparison import compare
    from mser_llm.evaluation.statistics.resampling import check_resamples
    from mser_llm.io.atomic_files import write_json

    if not 0 < args.confidence < 1:
        raise ValueError(f"confidence is {args.confidence:g}; give a number between 0 and 1, such as 0.95")
    check_resamples(args.resamples)
    first, second = (
        [read_predictions(place) for place in text.split(",") if place] for text in (args.first, args.second)
    )
    made = compare(first, second, args.metric, confidence=args.confidence, resamples=args.resamples)
    result = {"first": args.first, "second": args.second, "confidence": args.confidence, **made}
    if made["left_out"]:
        print(f"{made['left_out']} clips are left out, which not all runs answered", file=sys.stderr)
    rows = {**made["corpora"], **({"all corpora": made["pooled"]} if "pooled" in made else {})}
    width = max(len("corpus"), *map(len, rows))
    interval = f"{100 * args.confidence:g} % interval"
    print(
        f"{'corpus':<{width}}  {'first':>13}  {'second':>13}  difference  {interval:<16}      p  p (Holm)  McNemar  "
        f"speakers  clips    ({args.metric})"
    )
    for name, row in rows.items():
        ends = "" if row["low"] is None else f"{row['low']:+.3f} to {row['high']:+.3f}"
        print(
            f"{name:<{width}}  {_mean(row['first']):>13}  {_mean(row['second']):>13}  {row['difference']:>+10.3f}  "
            f"{ends:<16}  {_p(row['p'])}  {_p(row.get('p_holm')):>8}  {_p(row.get('mcnemar', {}).get('mid_p')):>7}  "
            f"{row['clusters']:>8}  {row['n']:>5}"
        )
    if args.output is not None:
        write_json(Path(args.output), result)
    return 0


def _mean(system: Mapping[str, Any]) -> str:
    return f"{system['mean']:.3f}" + ("" if system["std"] is None else f" ± {system['std']:.3f}")


def _p(value: float | None) -> str:
    return "     " if value is None else f"{value:.3f}" if value >= 0.0005 else "<.001"
