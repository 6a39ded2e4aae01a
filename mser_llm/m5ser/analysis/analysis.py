# SPDX-License-Identifier: Apache-2.0
"""Analyze a built M5SER folder and write `analysis.json` and `report.html`."""

import json
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from modeling_mser.labels_mser import check_labels
from mser_llm.evaluation.evaluation import versions
from mser_llm.io.atomic_files import atomic_open
from mser_llm.io.disk_errors import explain_disk_full
from mser_llm.io.errors import InputError
from mser_llm.m5ser.analysis.built_corpus import BuiltCorpus, BuiltCorpusError
from mser_llm.m5ser.analysis.cell_distances import (
    Design,
    compare_cells,
    independent_units,
    relative_to_speaker,
    standardize,
)
from mser_llm.m5ser.analysis.label_noise import check_with_classifier, labels_for
from mser_llm.m5ser.analysis.measured_clips import MeasuredClips, choose_sources, measure_corpus
from mser_llm.m5ser.analysis.overview import UNLABELLED, overview
from mser_llm.m5ser.analysis.preservation import compare_with_source
from mser_llm.m5ser.analysis.projection import project_cells
from mser_llm.m5ser.analysis.report import write_corpus_report


PROSODY = ("f0_median", "f0_range", "energy", "rate", "tilt")


def analyse_corpus(
    folder: str | PathLike,
    output_dir: str | PathLike,
    *,
    model: Any = None,
    processor: Any = None,
    model_name: str = "",
    sources_per_cell: int = 300,
    permutations: int = 999,
    seed: int = 0,
    workers: int = 1,
    batch_size: int = 16,
    progress: bool = True,
) -> dict[str, Any]:
    """Analyze a built folder and write `analysis.json`, `report.html` and `measures/` (the cache).

    Args:
        folder: from `run-mser m5ser build`.
        output_dir: created if missing. Cached measures in it are reused.
        model, processor, model_name: an emotion classifier from `load_model`, and its name; without one the labels are
            not checked.
        sources_per_cell: approximate number of source clips per corpus and emotion to measure, with all their
            translations; 0 measures all. Counts and hours always include all rows.
        permutations: number of permutations per test; p cannot be below 1 / (permutations + 1).
        seed: of the permutations.
        workers: number of processes that measure.
        batch_size: of the classifier.
        progress: whether to show progress bars.

    Returns:
        The content of `analysis.json`.

    Raises:
        BuiltCorpusError: the folder is not a built corpus, or none of its clips could be measured.
        InputError: a number below its minimum.
        ValueError: the classifier lacks a label of the corpus.
        OSError: the disk is full.
    """
    settings = {"sources_per_cell": sources_per_cell, "permutations": permutations, "seed": seed}
    for name, value in (settings | {"workers": workers}).items():
        minimum = 1 if name in ("permutations", "workers") else 0
        if value < minimum:
            raise InputError(f"{name} {value}", "too small", f"pass at least {minimum}")
    corpus = BuiltCorpus(folder)
    output_dir = Path(output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    counted = overview(corpus, progress)
    words = [word for word in counted["emotions"] if word != UNLABELLED]
    if model is not None:
        # Check before measuring.
        candidates = list(dict.fromkeys(labels_for(model, words).values()))
        processor.candidate_ids(candidates)
        check_labels(model.config, candidates)
    with explain_disk_full(output_dir):
        clips = measure_corpus(
            corpus,
            counted,
            output_dir / "measures",
            sources_per_cell=sources_per_cell,
            workers=workers,
            progress=progress,
        )
    if not clips.num_clips:
        reason = clips.errors[0]["error"] if clips.errors else "no row has an emotion"
        raise BuiltCorpusError(corpus.folder, f"no clip could be measured: {reason}")
    results: dict[str, Any] = {
        "format": 1,
        "folder": str(folder),
        "manifest_hash": corpus.manifest.get("manifest_hash"),
        "settings": settings,
        "versions": versions("scipy", "praat-parselmouth"),
        "overview": counted,
        "measured": {
            "sources": len(clips.emotion),
            "clips": clips.num_clips,
            "without_f0": clips.num_clips - int(np.isfinite(clips.scalar("f0_median")).sum()),
            "unreadable": list(clips.errors),
        },
        "distances": _distances(clips, permutations, seed, progress),
        "preservation": compare_with_source(clips, permutations=permutations, seed=seed, progress=progress),
        "label_noise": None,
    }
    if model is not None:
        chosen = choose_sources(counted, sources_per_cell)
        checked = check_with_classifier(
            corpus, chosen, model, processor, words, batch_size=batch_size, progress=progress
        )
        results["label_noise"] = {"model": model_name, **checked}
    with atomic_open(output_dir / "analysis.json") as file:
        file.write(json.dumps(results, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    write_corpus_report(results, output_dir / "report.html")
    return results


def _distances(clips: MeasuredClips, permutations: int, seed: int, progress: bool) -> dict[str, Any]:
    """Project and test spectra and prosody, each as measured and relative to the speaker."""
    unit = independent_units(clips.corpus, clips.speaker, clips.speaker_known)
    design = Design(clips.emotion, clips.corpus, clips.speaker, unit, len(clips.emotions), len(clips.corpora))
    spectra = clips.spectra.astype(np.float64)
    prosody = np.stack([clips.scalar(name) for name in PROSODY], axis=2)
    kinds = {
        "spectrum": spectra,
        "spectrum_relative": relative_to_speaker(spectra, design),
        "prosody": standardize(prosody),
        "prosody_relative": standardize(relative_to_speaker(prosody, design)),
    }
    return {
        name: {
            "picture": project_cells(features, design, clips.languages, clips.corpora, clips.emotions),
            "test": compare_cells(
                features,
                design,
                clips.languages,
                clips.emotions,
                permutations=permutations,
                seed=seed,
                progress=progress,
                name=name,
            ),
        }
        for name, features in kinds.items()
    }
