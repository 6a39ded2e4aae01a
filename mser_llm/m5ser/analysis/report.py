# SPDX-License-Identifier: Apache-2.0
"""Write the report of a corpus analysis: one HTML file with its figures, from `analysis.json` only."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from os import PathLike
from pathlib import Path
from typing import Any

from markupsafe import Markup

from mser_llm.data.languages import language_name
from mser_llm.evaluation.plots import confusion_figure
from mser_llm.evaluation.report import page_environment, page_picture
from mser_llm.io.atomic_files import atomic_open
from mser_llm.m5ser.analysis.figures import (
    cells_figure,
    durations_figure,
    hours_figure,
    preservation_figure,
    ratios_figure,
    speakers_figure,
)


FEATURES = {
    "spectrum": "spectrum, as measured",
    "spectrum_relative": "spectrum, relative to speaker",
    "prosody": "prosody, as measured",
    "prosody_relative": "prosody, relative to speaker",
}
QUANTITIES = {
    "f0_median": "pitch",
    "f0_range": "pitch range",
    "energy": "loudness",
    "rate": "syllable rate",
    "tilt": "spectral tilt",
    "duration": "duration",
    "f0_contour": "pitch contour",
}
HEADLINE = "prosody_relative"


def write_corpus_report(results: Mapping[str, Any], output_path: str | PathLike) -> Path:
    """Write the page of the results from `analyse_corpus`, or of `analysis.json`, atomically."""
    counted = results["overview"]
    tests = {name: results["distances"][name]["test"] for name in FEATURES if results["distances"][name]["test"]}
    names = {code: language_name(code) for code in counted["languages"]}
    template = page_environment("mser_llm.m5ser.analysis").get_template("corpus_report.html.j2")
    page = template.render(
        results=results,
        counted=counted,
        tests=tests,
        names=names,
        source=language_name(counted["source_language"]),
        features=FEATURES,
        quantities=QUANTITIES,
        headline=tests.get(HEADLINE),
        clips_table=_table(counted["cells"], "emotion", "language"),
        corpora_table=_table(counted["cells"], "source_corpus", "language"),
        figures=_figures(results, tests, names),
        maps=_maps(results, names),
        today=date.today().isoformat(),
    )
    output_path = Path(output_path)
    with atomic_open(output_path) as file:
        file.write(page)
    return output_path


def _table(cells: Sequence[Mapping[str, Any]], row: str, column: str) -> dict[str, dict[str, tuple[int, float]]]:
    """Sum clips and hours by two of a cell's keys."""
    found: defaultdict[str, dict[str, tuple[int, float]]] = defaultdict(dict)
    for cell in cells:
        clips, hours = found[cell[row]].get(cell[column], (0, 0.0))
        found[cell[row]][cell[column]] = (clips + cell["clips"], hours + cell["hours"])
    return found


def _figures(results: Mapping[str, Any], tests: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Markup]:
    counted = results["overview"]
    by_language = _table(counted["cells"], "language", "emotion")
    timed = counted["rows_without_duration"] < counted["rows"]
    amounts = {
        code: {emotion: amount[1 if timed else 0] for emotion, amount in by_language[code].items()}
        for code in counted["languages"]
    }
    drawn = {
        "hours": (
            hours_figure(amounts, counted["emotions"], names, "hours" if timed else "clips"),
            "Hours per language, divided by emotion",
        )
    }
    if tests:
        titled = {FEATURES[name].replace(", ", ",\n"): test for name, test in tests.items()}
        drawn["ratios"] = ratios_figure(titled), "Same-emotion over different-emotion distances"
    if results["preservation"]:
        drawn["preservation"] = (
            preservation_figure(results["preservation"], QUANTITIES, names),
            "Correlations between source and translation",
        )
    if timed:
        drawn["durations"] = durations_figure(counted["durations"], names), "Durations of clips"
    per_speaker: defaultdict[int, int] = defaultdict(int)
    for of in counted["speakers"]["source_corpora"].values():
        for clips, speakers in of["clips_per_speaker"]["histogram"]:
            per_speaker[clips] += speakers
    if len(per_speaker) > 1:
        drawn["speakers"] = speakers_figure(sorted(per_speaker.items())), "Clips per speaker"
    noise = results["label_noise"]
    if noise and noise["pooled"]:
        drawn["confusion"] = (
            confusion_figure(noise["pooled"]["confusion"], noise["words"]),
            "Predictions of the classifier by label",
        )
    return {name: page_picture(figure, description) for name, (figure, description) in drawn.items()}


def _maps(results: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, dict[str, Markup]]:
    """Draw the map of each kind of features and source corpus; all corpora share one projection."""
    maps: dict[str, dict[str, Markup]] = {}
    for name, title in FEATURES.items():
        picture = results["distances"][name]["picture"]
        for corpus in results["overview"]["source_corpora"] if picture else ():
            points = [point for point in picture["points"] if point["source_corpus"] == corpus]
            if points:
                figure = cells_figure(points, picture["explained"], results["overview"]["emotions"], names)
                maps.setdefault(name, {})[corpus] = page_picture(figure, f"Map of {title}, {corpus}")
    return maps
