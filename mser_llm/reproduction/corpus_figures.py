# SPDX-License-Identifier: Apache-2.0
"""Figures 1 and 2 of the paper: the contents of a built M5SER, and the mean spectra of its emotions.

Both come from the corpus analysis of `run-mser m5ser analyse`, as separate pictures and numbers.
"""

from collections import defaultdict
from pathlib import Path
from typing import Any

from mser_llm.data.languages import language_name
from mser_llm.evaluation.plots import write_png
from mser_llm.io.atomic_files import write_json
from mser_llm.m5ser.analysis import analyse_corpus
from mser_llm.m5ser.analysis.built_corpus import BuiltCorpus, BuiltCorpusError
from mser_llm.m5ser.analysis.cell_distances import MIN_CLIPS
from mser_llm.m5ser.analysis.figures import cells_figure, hours_figure
from mser_llm.m5ser.analysis.overview import overview


def figure1(folder: Path, output_dir: Path) -> dict[str, Any]:
    """Write `figure1.png`, hours by language and emotion, and `figure1.json`."""
    counted = overview(BuiltCorpus(folder))
    hours: dict[str, dict[str, float]] = {code: defaultdict(float) for code in counted["languages"]}
    totals: dict[str, dict[str, dict[str, float]]] = {"language": {}, "emotion": {}}
    for cell in counted["cells"]:
        hours[cell["language"]][cell["emotion"]] += cell["hours"]
        for by, found in totals.items():
            total = found.setdefault(cell[by], {"clips": 0, "hours": 0.0})
            total["clips"] += cell["clips"]
            total["hours"] += cell["hours"]
    results = {
        "hours": counted["hours"],
        "clips": counted["rows"],
        "languages": totals["language"],
        "emotions": totals["emotion"],
        "cells": counted["cells"],
        "paper": "arXiv 2503.21806, Sec. III-A: over 1009 hours in five languages; its Fig. 1 was not available.",
    }
    output_dir.mkdir(parents=True, exist_ok=True)
    names = {code: language_name(code) for code in counted["languages"]}
    write_png(hours_figure(hours, counted["emotions"], names, "hours"), output_dir / "figure1.png")
    write_json(output_dir / "figure1.json", results)
    return results


def figure2(folder: Path, output_dir: Path) -> dict[str, Any]:
    """
    Write `figure2_CORPUS.png` (mean spectra of emotions and languages) of each source corpus, `figure2.json`, and the
    files of the whole analysis. Measurements in the output folder are reused.

    The `test` in the JSON is not in the paper: whether clips of one emotion are closer together across languages than
    clips of different emotions.
    """
    analysis = analyse_corpus(folder, output_dir)
    spectra = analysis["distances"]["spectrum"]
    if spectra["picture"] is None:
        raise BuiltCorpusError(
            folder,
            f"too small for a figure, which needs three emotions or languages of {MIN_CLIPS} clips each",
            "build it from more clips",
        )
    results = {**spectra["picture"], "test": spectra["test"]}
    emotions, codes = analysis["overview"]["emotions"], analysis["overview"]["languages"]
    names = {code: language_name(code) for code in codes}
    for corpus in sorted({point["source_corpus"] for point in results["points"]}):
        own = [point for point in results["points"] if point["source_corpus"] == corpus]
        write_png(cells_figure(own, results["explained"], emotions, names), output_dir / f"figure2_{corpus}.png")
    write_json(output_dir / "figure2.json", results)
    return results
