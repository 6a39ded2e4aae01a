# SPDX-License-Identifier: Apache-2.0
"""The whole analysis of a built M5SER folder: `analysis.json` and `report.html`."""

import json
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from modeling_mser.labels_mser import check_labels
from mser_llm.evaluation.evaluation import versions
from mser_llm.io.atomic_files import atomic_open
from mser_llm.m5ser.analysis.built_corpus import BuiltCorpus, BuiltCorpusError
from mser_llm.m5ser.analysis.cell_distances import (
    Design,
    compare_cells,
    in_standard_deviations,
    independent_units,
    relative_to_speaker,
)
from mser_llm.m5ser.analysis.label_noise import counted_for, judge_labels
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
    """Analyses a built folder and writes `analysis.json`, `report.html` and `measures.sqlite` (the cache).

    Args:
        folder: as `run-mser m5ser build` writes it.
        output_dir: made if need be. Measurements that lie there are taken over.
        model, processor, model_name: an emotion classifier as `load_model` returns it, and what it is called; without
            one the labels are not judged.
        sources_per_cell: about so many source clips of each corpus and emotion are measured, with all their
            translations; 0 measures all. Counts and hours are always over all rows.
        permutations: shufflings of each test; p cannot be below 1 / (permutations + 1).
        seed: of the shufflings.
        workers: processes that measure.
        batch_size: of the classifier.
        progress: shows bars.

    Returns:
        What is in `analysis.json`.

    Raises:
        BuiltCorpusError: the folder is no built corpus, or none of its clips could be measured.
        ValueError: a number below its least, or a classifier that lacks a word of the corpus.
        MeasureCacheError: `measures.sqlite` is something else, or there is no room for it.
    """
    for name, value, least in (
        ("permutations", permutations, 1),
        ("workers", workers, 1),
        ("sources_per_cell", sources_per_cell, 0),
        ("seed", seed, 0),
    ):
        if value < least:
            raise ValueError(f"{name} is {value}; it must be at least {least}")
    corpus = BuiltCorpus(folder)
    output_dir = Path(output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    counted = overview(corpus, progress)
    words = [word for word in counted["emotions"] if word != UNLABELLED]
    if model is not None:
        # Rejected here, and not when all else is done.
        candidates = list(dict.fromkeys(counted_for(model, words).values()))
        processor.candidate_ids(candidates)
        check_labels(model.config, candidates)
    clips = measure_corpus(
        corpus,
        counted,
        output_dir / "measures.sqlite",
        sources_per_cell=sources_per_cell,
        workers=workers,
        progress=progress,
    )
    if not clips.num_clips:
        reason = clips.errors[0]["error"] if clips.errors else "no row has an emotion"
        raise BuiltCorpusError(f"{corpus.folder}: no clip could be measured; {reason}")
    settings = {"sources_per_cell": sources_per_cell, "permutations": permutations, "seed": seed}
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
        judged = judge_labels(corpus, chosen, model, processor, words, batch_size=batch_size, progress=progress)
        results["label_noise"] = {"model": model_name, **judged}
    with atomic_open(output_dir / "analysis.json") as file:
        json.dump(results, file, indent=2, ensure_ascii=False, allow_nan=False)
        file.write("\n")
    write_corpus_report(results, output_dir / "report.html")
    return results


def _distances(clips: MeasuredClips, permutations: int, seed: int, progress: bool) -> dict[str, Any]:
    """Spectra and prosody, each as measured and relative to the speaker: picture and test."""
    unit = independent_units(clips.corpus, clips.speaker, clips.speaker_known)
    design = Design(clips.emotion, clips.corpus, clips.speaker, unit, len(clips.emotions), len(clips.corpora))
    spectra = clips.spectra.astype(np.float64)
    prosody = np.stack([clips.scalar(name) for name in PROSODY], axis=2)
    kinds = {
        "spectrum": spectra,
        "spectrum_relative": relative_to_speaker(spectra, design),
        "prosody": in_standard_deviations(prosody),
        "prosody_relative": in_standard_deviations(relative_to_speaker(prosody, design)),
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
