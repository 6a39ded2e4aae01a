# SPDX-License-Identifier: Apache-2.0
"""Measure the acoustics of a built corpus: a fixed sample of source clips with all their translations."""

import hashlib
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from mser_llm.io.hashing import digest
from mser_llm.io.store import Store
from mser_llm.m5ser.analysis.built_corpus import BuiltCorpus, Row
from mser_llm.m5ser.analysis.clip_measures import (
    CONTOUR_POINTS,
    MEASURES_VERSION,
    MEL_BANDS,
    SCALARS,
    ClipMeasures,
    measure_clip,
)
from mser_llm.m5ser.analysis.overview import UNLABELLED
from processing_mser.audio_mser import AudioError, load_audio


@dataclass(frozen=True)
class MeasuredClips:
    """Measures of each source clip in each language; NaN if a language lacks the clip.

    Attributes:
        languages, emotions, corpora: names of the first axis, and of the indices in `emotion` and `corpus`.
        emotion, corpus, speaker: int arrays `(num_sources,)`. All unknown speakers of a corpus share one index.
        speaker_known: bool array `(num_sources,)`.
        scalars: `(num_languages, num_sources, len(SCALARS))` float32.
        spectra: `(num_languages, num_sources, MEL_BANDS)` float32.
        contours: `(num_languages, num_sources, CONTOUR_POINTS)` float32.
        errors: `{"id", "error"}` of each unreadable clip.
        source_language: of the sources.
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
        """Return one of `SCALARS`: float64 `(num_languages, num_sources)`."""
        return self.scalars[:, :, SCALARS.index(name)].astype(np.float64)

    @property
    def num_clips(self) -> int:
        return int(np.isfinite(self.spectra[:, :, 0]).sum())


def choose_sources(counted: Mapping[str, Any], sources_per_cell: int) -> Callable[[Row], bool]:
    """Return a function that selects about `sources_per_cell` sources per corpus and emotion; 0 selects all.

    A source is selected with all its translations, by the hash of its name, so the sample is the same in every run and
    language. Rows without an emotion are never selected. `counted` is from `overview`.
    """
    # Languages lack their rejects, so the largest count is closest to the number of sources.
    sources: dict[tuple[str, str], int] = {}
    for cell in counted["cells"]:
        name = (cell["source_corpus"], cell["emotion"])
        sources[name] = max(sources.get(name, 0), cell["clips"])

    def chosen(row: Row) -> bool:
        if row["emotion"] is None:
            return False
        if not sources_per_cell:
            return True
        key = hashlib.blake2b(row["source"].encode(), digest_size=8).digest()
        fraction = sources_per_cell / sources[row["source_corpus"], row["emotion"]]
        return int.from_bytes(key, "big") < fraction * 2**64

    return chosen


def measure_corpus(
    corpus: BuiltCorpus,
    counted: Mapping[str, Any],
    cache_dir: str | PathLike,
    *,
    sources_per_cell: int = 0,
    workers: int = 1,
    progress: bool = True,
) -> MeasuredClips:
    """Measure the selected clips of a built corpus that are not in the cache.

    Memory: the samples of a few dozen clips at a time, and half a kilobyte per measured clip.

    Args:
        corpus, counted: the built folder, and its `overview`.
        cache_dir: directory of a [`mser_llm.io.store.Store`].
        sources_per_cell: see `choose_sources`.
        workers: number of processes; 1 measures in this process.
    """
    chosen = choose_sources(counted, sources_per_cell)
    languages, corpora = counted["languages"], counted["source_corpora"]
    emotions = [word for word in counted["emotions"] if word != UNLABELLED]
    total, sources = 0, {}
    for row in filter(chosen, corpus.rows()):
        total += 1
        sources[row["source"]] = (row["emotion"], row["source_corpus"], row["speaker"])
    index_of = {source: index for index, source in enumerate(sorted(sources))}
    labels = [sources[source] for source in index_of]
    shape = (len(languages), len(sources))
    scalars, spectra, contours = (
        np.full((*shape, size), np.nan, dtype=np.float32) for size in (len(SCALARS), MEL_BANDS, CONTOUR_POINTS)
    )
    errors: list[dict[str, str]] = []
    with Store(cache_dir) as cache, _measurer(workers) as measure:
        bar = tqdm(desc="measured", total=total, unit="clip", disable=not progress, dynamic_ncols=True)
        for batch in corpus.rows_with_audio(chosen):
            for row, found in zip(batch, _measures(batch, cache, measure), strict=True):
                if isinstance(found, str):
                    errors.append({"id": row["id"], "error": found})
                    continue
                cell = languages.index(row["language"]), index_of[row["source"]]
                scalars[cell], spectra[cell], contours[cell] = found.scalars, found.spectrum, found.contour
            bar.update(len(batch))
        bar.close()
    speakers = [speaker or f"unknown speaker of {name}" for _, name, speaker in labels]
    return MeasuredClips(
        languages=languages,
        emotions=emotions,
        corpora=corpora,
        emotion=np.array([emotions.index(emotion) for emotion, _, _ in labels], dtype=int),
        corpus=np.array([corpora.index(name) for _, name, _ in labels], dtype=int),
        speaker=np.unique(speakers, return_inverse=True)[1],
        speaker_known=np.array([speaker is not None for _, _, speaker in labels], dtype=bool),
        scalars=scalars,
        spectra=spectra,
        contours=contours,
        errors=errors,
        source_language=corpus.source_language,
    )


def _measures(
    batch: Sequence[Row], cache: Store, measure: Callable[[Sequence[Any]], Iterable[ClipMeasures | str]]
) -> list[ClipMeasures | str]:
    """Return the measures of a batch, or why a clip is unreadable, and add what is new to the cache."""
    keys = [cache_key(row["audio"]) for row in batch]
    packed = {key: cache.get(key) for key in keys}
    new = {key: row["audio"] for key, row in zip(keys, batch, strict=True) if packed[key] is None}
    measured = {key: pack(found) for key, found in zip(new, measure(list(new.values())), strict=True)}
    cache.write(measured)
    return [unpack(measured.get(key) or packed[key] or b"") for key in keys]


def cache_key(audio: Mapping[str, Any]) -> str:
    """Return the key of a recording: equal for equal bytes, different for another version of the measures."""
    content = audio["bytes"] if audio["bytes"] is not None else str(audio["path"]).encode()
    return digest("clip measures", MEASURES_VERSION, content)


def pack(found: ClipMeasures | str) -> bytes:
    """Encode measures, or the message of an error, for the cache."""
    if isinstance(found, str):
        return b"error:" + found.encode()
    return np.concatenate((found.scalars, found.spectrum, found.contour), dtype="<f4").tobytes()


def unpack(packed: bytes) -> ClipMeasures | str:
    """Decode `pack`."""
    if packed.startswith(b"error:"):
        return packed.removeprefix(b"error:").decode()
    numbers = np.frombuffer(packed, "<f4")
    return ClipMeasures(*np.split(numbers, [len(SCALARS), len(SCALARS) + MEL_BANDS]))


@contextmanager
def _measurer(workers: int) -> Iterator[Callable[[Sequence[Any]], Iterable[ClipMeasures | str]]]:
    if workers == 1:
        yield lambda recordings: map(_measure, recordings)
        return
    # Not forked, because a fork would copy locks that threads of torch or arrow hold.
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield lambda recordings: pool.map(_measure, recordings, chunksize=2)


def _measure(recording: Any) -> ClipMeasures | str:
    try:
        return measure_clip(load_audio(recording))
    except AudioError as error:
        return str(error)
