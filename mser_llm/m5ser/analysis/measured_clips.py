# SPDX-License-Identifier: Apache-2.0
"""The acoustics of a built corpus: a fixed choice of source clips with their translations, measured in a stream."""

import hashlib
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
from tqdm.auto import tqdm

from mser_llm.m5ser.analysis.built_corpus import BuiltCorpus, Row
from mser_llm.m5ser.analysis.clip_measures import (
    CONTOUR_POINTS,
    MEL_BANDS,
    SCALARS,
    ClipMeasures,
    measure_clip,
)
from mser_llm.m5ser.analysis.measure_cache import MeasureCache
from mser_llm.m5ser.analysis.overview import UNLABELLED
from processing_mser.audio_mser import AudioError, load_audio


@dataclass(frozen=True)
class MeasuredClips:
    """What was measured, one place for each language and source clip; NaN where a language lacks the clip.

    Attributes:
        languages, emotions, corpora: the words that `emotion` and `corpus` number, and the order of the first axis.
        emotion, corpus, speaker: int arrays `(num_sources,)`. Clips whose speaker is unknown share one for their
            corpus.
        speaker_known: bool array `(num_sources,)`.
        scalars: `(num_languages, num_sources, len(SCALARS))` float32.
        spectra: `(num_languages, num_sources, MEL_BANDS)` float32.
        contours: `(num_languages, num_sources, CONTOUR_POINTS)` float32.
        errors: `{"id", "error"}` of each clip that could not be read.
        source_language: from which the others were translated.
    """

    languages: Sequence[str]
    emotions: Sequence[str]
    corpora: Sequence[str]
    emotion: np.ndarray
    corpus: np.ndarray
    speaker: np.ndarray
    speaker_known: np.ndarray
    scalars: np.ndarray
    spectra: np.ndarray
    contours: np.ndarray
    errors: Sequence[Mapping[str, str]]
    source_language: str

    def scalar(self, name: str) -> np.ndarray:
        """One of `SCALARS`, `(num_languages, num_sources)` in float64."""
        return self.scalars[:, :, SCALARS.index(name)].astype(np.float64)

    @property
    def num_clips(self) -> int:
        return int(np.isfinite(self.spectra[:, :, 0]).sum())


def choose_sources(counted: Mapping[str, Any], sources_per_cell: int) -> Callable[[Row], bool]:
    """Says of a row whether its source clip is among those to be measured.

    A source is taken with all its translations or not at all, by the hash of its name, so that the choice is the same
    in every run and in every language. Rows without an emotion are left out.

    Args:
        counted: what `overview` returned.
        sources_per_cell: about so many of each source corpus and emotion; 0 takes all.
    """
    # A language lacks what was rejected; the one that has most is nearest to the number of sources.
    sources: dict[tuple[str, str], int] = {}
    for cell in counted["cells"]:
        name = (cell["source_corpus"], cell["emotion"])
        sources[name] = max(sources.get(name, 0), cell["clips"])

    def chosen(row: Row) -> bool:
        if row["emotion"] is None:
            return False
        if not sources_per_cell:
            return True
        digest = hashlib.blake2b(row["source"].encode(), digest_size=8).digest()
        share = sources_per_cell / sources[row["source_corpus"], row["emotion"]]
        return int.from_bytes(digest, "big") < share * 2**64

    return chosen


def measure_corpus(
    corpus: BuiltCorpus,
    counted: Mapping[str, Any],
    cache_path: str | PathLike,
    *,
    sources_per_cell: int = 0,
    workers: int = 1,
    progress: bool = True,
) -> MeasuredClips:
    """Measures a built corpus, or those of its clips that the cache does not know.

    At most a few dozen clips are in memory as sound; of each measured clip half a kilobyte stays.

    Args:
        corpus: the built folder.
        counted: what `overview` returned for it.
        cache_path: the file of a `MeasureCache`; made if it is not there.
        sources_per_cell: see `choose_sources`.
        workers: processes that measure; with 1 it is this one.
        progress: shows a bar.
    """
    chosen = choose_sources(counted, sources_per_cell)
    languages, corpora = counted["languages"], counted["source_corpora"]
    emotions = [word for word in counted["emotions"] if word != UNLABELLED]
    total, sources = _list_sources(corpus, chosen)
    place = {source: index for index, source in enumerate(sources)}
    shape = (len(languages), len(sources))
    scalars, spectra, contours = (
        np.full((*shape, size), np.nan, dtype=np.float32) for size in (len(SCALARS), MEL_BANDS, CONTOUR_POINTS)
    )
    errors: list[dict[str, str]] = []
    with MeasureCache(cache_path) as cache, _measurer(workers) as measure:
        bar = tqdm(desc="measured", total=total, unit="clip", disable=not progress, dynamic_ncols=True)
        for batch in corpus.rows_with_audio(chosen):
            for row, found in zip(batch, _measures(batch, cache, measure), strict=True):
                if isinstance(found, str):
                    errors.append({"id": row["id"], "error": found})
                    continue
                cell = languages.index(row["language"]), place[row["source"]]
                scalars[cell], spectra[cell], contours[cell] = found.scalars, found.spectrum, found.contour
            bar.update(len(batch))
        bar.close()
    speakers = [labels.speaker or f"unknown speaker of {labels.source_corpus}" for labels in sources.values()]
    return MeasuredClips(
        languages=languages,
        emotions=emotions,
        corpora=corpora,
        emotion=np.array([emotions.index(labels.emotion) for labels in sources.values()], dtype=int),
        corpus=np.array([corpora.index(labels.source_corpus) for labels in sources.values()], dtype=int),
        speaker=np.unique(speakers, return_inverse=True)[1],
        speaker_known=np.array([labels.speaker is not None for labels in sources.values()], dtype=bool),
        scalars=scalars,
        spectra=spectra,
        contours=contours,
        errors=errors,
        source_language=corpus.source_language,
    )


class _Labels(NamedTuple):
    emotion: str
    source_corpus: str
    speaker: str | None


def _list_sources(corpus: BuiltCorpus, chosen: Callable[[Row], bool]) -> tuple[int, dict[str, _Labels]]:
    """How many rows are to be measured, and the labels of their sources in the order of their names."""
    total, sources = 0, {}
    for row in corpus.rows():
        if chosen(row):
            total += 1
            sources[row["source"]] = _Labels(row["emotion"], row["source_corpus"], row["speaker"])
    return total, dict(sorted(sources.items()))


def _measures(
    batch: Sequence[Row],
    cache: MeasureCache,
    measure: Callable[[Sequence[Any]], Iterable[ClipMeasures | str]],
) -> list[ClipMeasures | str]:
    """From the cache, and what it lacks measured and put there."""
    keys = [cache.key(row["audio"]) for row in batch]
    found = {key: cache.get(key) for key in keys}
    new = {key: row["audio"] for key, row in zip(keys, batch, strict=True) if found[key] is None}
    made = dict(zip(new, measure(list(new.values())), strict=True))
    cache.add(made.items())
    return [made[key] if key in made else found[key] for key in keys]  # type: ignore[misc]


@contextmanager
def _measurer(workers: int) -> Iterator[Callable[[Sequence[Any]], Iterable[ClipMeasures | str]]]:
    if workers == 1:
        yield lambda sounds: map(_measure, sounds)
        return
    # Not forked: threads of torch or arrow in this process may hold a lock that a fork would copy.
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield lambda sounds: pool.map(_measure, sounds, chunksize=2)


def _measure(sound: Any) -> ClipMeasures | str:
    try:
        return measure_clip(load_audio(sound))
    except AudioError as error:
        return str(error)
