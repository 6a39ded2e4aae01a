# SPDX-License-Identifier: Apache-2.0
"""Write the results as JSON and as a table, with a description of the machine."""

import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.suite.rounds import Comparison
from mser_llm.inference.deferred_model import versions
from mser_llm.io.atomic_files import atomic_open, write_json


BEGIN, END = "<!-- run-mser bench: begin -->", "<!-- run-mser bench: end -->"


def machine(device: str) -> dict[str, Any]:
    """Describe what the measurements depend on: processor, threads, load, library versions."""
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
    """Name of the processor, from /proc/cpuinfo or the platform module."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def table(comparisons: Sequence[Comparison]) -> str:
    """Format the comparisons as an aligned Markdown table, readable in a terminal too."""
    header = ("what", "ours", "other", "unit", "ratio", "rounds", "target")
    rows = [header, *(_row(comparison) for comparison in comparisons)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _row(comparison: Comparison) -> tuple[str, ...]:
    summary, each = comparison.summary, comparison.ratios
    target = comparison.target + {None: "", True: ", met", False: ", missed"}[comparison.met]
    spread = f"{_number(min(each))} to {_number(max(each))}" if len(each) > 1 else ""
    sides = (_number(summary["ours"]), _number(summary["other"]))
    return (summary["name"], *sides, summary["unit"], _number(summary["ratio"]), spread, target)


def _number(value: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def markdown(comparisons: Sequence[Comparison], about: dict[str, Any]) -> str:
    """The table below a line that describes the machine."""
    where = about.get("accelerator") or about["processor"]
    libraries = about["versions"]
    line = (
        f"{where}, {about['cores']} cores, {about['threads']} threads, load {about['load_average'] or 0:.1f} at the "
        f"start; torch {libraries['torch']}, transformers {libraries['transformers']}."
    )
    return f"{line}\n\n{table(comparisons)}\n"


def write_report(folder: Path, comparisons: Sequence[Comparison], about: dict[str, Any], sizes: Any) -> None:
    """Write `bench.json`, `bench_details.json` and `bench.md`, each atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    details = [
        {
            **comparison.summary,
            "better": comparison.better,
            "target": comparison.target,
            "met": comparison.met,
            "ratio_of_each_round": comparison.ratios,
            "rounds": {"ours": list(comparison.ours), "other": list(comparison.other)},
            "facts": comparison.facts or {},
        }
        for comparison in comparisons
    ]
    contents = {
        "bench.json": [comparison.summary for comparison in comparisons],
        "bench_details.json": {"machine": about, "sizes": sizes, "comparisons": details},
    }
    for name, content in contents.items():
        write_json(folder / name, content)
    with atomic_open(folder / "bench.md") as file:
        file.write(markdown(comparisons, about))


def around_table(page: Path) -> tuple[str, str]:
    """Split a Markdown page at its table: the text before and after it, including the two markers."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page}: the lines {BEGIN} and {END} are missing; add them where the table belongs")
    return before + begin, end + after


def write_into_page(page: Path, text: str) -> None:
    """Replace the text between the two markers of a page; raises as `around_table`."""
    before, after = around_table(page)
    with atomic_open(page) as file:
        file.write(f"{before}\n\n{text.strip()}\n\n{after}")
