# SPDX-License-Identifier: Apache-2.0
"""What a run of the benchmark leaves: figures as JSON and as a table, with the machine they were measured on."""

import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.suite.rounds import Comparison
from mser_llm.inference.library_versions import versions
from mser_llm.io.atomic_files import atomic_open, write_json


BEGIN, END = "<!-- run-mser bench: begin -->", "<!-- run-mser bench: end -->"


def machine(device: str) -> dict[str, Any]:
    """What the figures depend on beside the code."""
    found: dict[str, Any] = {
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "device": device,
        "versions": versions(),
    }
    if device == "cuda":
        found["accelerator"] = torch.cuda.get_device_name()
    return found


def processor_name() -> str:
    """The processor as Linux names it, or whatever the platform tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def table(comparisons: Sequence[Comparison]) -> str:
    """The comparisons as a table in Markdown, which reads as it stands in a terminal too."""
    header = ("what", "ours", "other", "unit", "ratio", "rounds", "asked")
    rows = [header, *(_row(comparison) for comparison in comparisons)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _row(comparison: Comparison) -> tuple[str, ...]:
    figures, each = comparison.figures, comparison.ratio_of_each_round
    asked = comparison.target + {None: "", True: ", met", False: ", missed"}[comparison.met]
    spread = f"{_number(min(each))} to {_number(max(each))}" if len(each) > 1 else ""
    sides = (_number(figures["ours"]), _number(figures["other"]))
    return (figures["name"], *sides, figures["unit"], _number(figures["ratio"]), spread, asked)


def _number(value: float) -> str:
    """Three significant digits, without an exponent where a reader can do without."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def markdown(comparisons: Sequence[Comparison], about: dict[str, Any]) -> str:
    """The table under a line that names the machine."""
    where = about.get("accelerator") or about["processor"]
    libraries = about["versions"]
    line = (
        f"{where}, {about['cores']} cores, {about['threads']} threads, load {about['load_average'] or 0:.1f} at the "
        f"start; torch {libraries['torch']}, transformers {libraries['transformers']}."
    )
    return f"{line}\n\n{table(comparisons)}\n"


def write_report(folder: Path, comparisons: Sequence[Comparison], about: dict[str, Any], sizes: Any) -> None:
    """`bench.json`, `bench_details.json` and `bench.md`, each whole or absent."""
    folder.mkdir(parents=True, exist_ok=True)
    details = [
        {
            **comparison.figures,
            "better": comparison.better,
            "asked": comparison.target,
            "met": comparison.met,
            "ratio_of_each_round": comparison.ratio_of_each_round,
            "rounds": {"ours": list(comparison.ours), "other": list(comparison.other)},
            "facts": comparison.facts or {},
        }
        for comparison in comparisons
    ]
    contents = {
        "bench.json": [comparison.figures for comparison in comparisons],
        "bench_details.json": {"machine": about, "sizes": sizes, "comparisons": details},
    }
    for name, content in contents.items():
        write_json(folder / name, content)
    with atomic_open(folder / "bench.md") as file:
        file.write(markdown(comparisons, about))


def around_table(page: Path) -> tuple[str, str]:
    """
    What stands before and after the table of a page in Markdown, the two markers included.

    Raises:
        ValueError: the page does not have the markers, in their order.
    """
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page}: does not hold the lines {BEGIN} and {END}; add them where the table belongs")
    return before + begin, end + after


def write_into_page(page: Path, text: str) -> None:
    """Puts the text between the two markers of a page; raises as `around_table`."""
    before, after = around_table(page)
    with atomic_open(page) as file:
        file.write(f"{before}\n\n{text.strip()}\n\n{after}")


__all__ = ["around_table", "machine", "markdown", "table", "write_into_page", "write_report"]
