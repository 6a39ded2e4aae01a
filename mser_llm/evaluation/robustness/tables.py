# SPDX-License-Identifier: Apache-2.0
"""The figures under all conditions as files: JSON, CSV, Markdown and a picture."""

import csv
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from mser_llm.evaluation.metrics.emotion_metrics import METRICS
from mser_llm.evaluation.plots import write_png
from mser_llm.evaluation.robustness.plots import robustness_figure
from mser_llm.io.atomic_files import atomic_open, write_json


def write_robustness(results: Mapping[str, Any], output_dir: str | PathLike) -> Path:
    """Writes `robustness.json`, `.csv`, `.png` and `.md`, each whole or not at all; returns the last.

    Args:
        results: of `robustness_metrics`, `leak` and, for what --others lends, `lent_leak` as `LeakReport.as_dict` has
            them, and whatever else is to stand in the JSON.
        output_dir: an existing folder.
    """
    output = Path(output_dir)
    write_json(output / "robustness.json", results)
    with atomic_open(output / "robustness.csv") as file:
        bounds = [f"{metric}_{end}" for metric in METRICS for end in ("low", "high")]
        against = ["UA_difference", "UA_difference_low", "UA_difference_high", "p", "p_holm"]
        columns = ["corpus", "condition", "level", "n", "touched", "unanswered", *METRICS, *bounds, *against]
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for corpus, figures in results["clean"].items():
            writer.writerow(_cells(corpus, "clean", "", figures))
        for name, condition in results["conditions"].items():
            for level in condition["levels"]:
                for corpus, figures in level["corpora"].items():
                    writer.writerow(_cells(corpus, name, level["level"], figures))
    write_png(robustness_figure(results), output / "robustness.png")
    with atomic_open(output / "robustness.md") as file:
        file.write(markdown(results))
    return output / "robustness.md"


def markdown(results: Mapping[str, Any]) -> str:
    """A table for each corpus, and above all what was heard in training."""
    leak, lines = results.get("leak", {}), []
    if leak.get("found"):
        lines = [f"Leak: training heard speakers or recordings of {leak['clips']} of {leak['tested']} clips.", ""]
    if leak.get("mark"):
        lines += [f"{leak['mark'][0].upper()}{leak['mark'][1:]}.", ""]
    for corpus, clean in results["clean"].items():
        unanswered = False
        lines += [f"## {corpus}, {clean['n']} clips", "", f"As they are: UA {_with_interval(clean)}", ""]
        lines += ["| condition | level | UA | less that as they are | p (Holm) |", "|---|---:|---:|---:|---:|"]
        for condition in results["conditions"].values():
            title = condition["title"] + (f", {condition['axis']}" if condition["axis"] else "")
            for level in condition["levels"]:
                figures = level["corpora"][corpus]
                against = figures["against_clean"]
                difference, adjusted = f"{against['difference']:+.3f}", ""
                if against["p"] is not None:
                    difference += f" [{against['low']:+.3f}, {against['high']:+.3f}]"
                    adjusted = f"{against['p_holm']:.3f}"
                strength = f"{level['level']:g}" if condition["axis"] else ""
                if figures["touched"] < figures["n"]:
                    strength += f" ({figures['touched']} clips changed)"
                if figures["unanswered"]:
                    strength += f" ({figures['unanswered']} clips unanswered)"
                    unanswered = True
                lines.append(f"| {title} | {strength} | {_with_interval(figures)} | {difference} | {adjusted} |")
        lines += ["", "Brackets: 95 % intervals. p: two-sided, paired bootstrap over speakers."]
        if unanswered:
            lines[-1] += " Unanswered: could not be read under the condition; the UA is that of the other clips."
        lines.append("")
    lent = results.get("lent_leak", {})
    if lent.get("found"):
        heard = f"{lent['clips']} of {lent['tested']} clips that --others lends"
        lines += [f"Leak: training heard speakers or recordings of {heard}; a join with them is easier for that.", ""]
    return "\n".join(lines)


def _cells(corpus: str, condition: str, level: float | str, figures: Mapping[str, Any]) -> dict[str, Any]:
    cells = {"corpus": corpus, "condition": condition, "level": level, "n": figures["n"]}
    cells |= {name: figures.get(name) for name in ("touched", "unanswered", *METRICS)}
    for metric, (low, high) in (figures["intervals"] or {}).items():
        cells |= {f"{metric}_low": low, f"{metric}_high": high}
    if "against_clean" in figures:
        against = figures["against_clean"]
        cells |= {"UA_difference": against["difference"], "p": against["p"], "p_holm": against.get("p_holm")}
        cells |= {"UA_difference_low": against["low"], "UA_difference_high": against["high"]}
    return cells


def _with_interval(figures: Mapping[str, Any]) -> str:
    if not figures["intervals"]:
        return f"{figures['UA']:.3f}"
    low, high = figures["intervals"]["UA"]
    return f"{figures['UA']:.3f} [{low:.3f}, {high:.3f}]"
