# SPDX-License-Identifier: Apache-2.0
"""Measurements that were made, kept in one SQLite file: a rerun is quick, and a killed run goes on."""

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from mser_llm.m5ser.analysis.clip_measures import (
    CONTOUR_POINTS,
    MEASURES_VERSION,
    MEL_BANDS,
    SCALARS,
    ClipMeasures,
)


class MeasureCacheError(ValueError):
    """A cache file that is not one, or that cannot be written."""


class MeasureCache:
    """From the hash of a clip's bytes to its measures, or to the reason why it could not be read.

    What `add` was given stays, whatever happens to the process afterwards.

    Raises:
        MeasureCacheError: the file is something else than a cache, or cannot be read or written, then or later.
    """

    def __init__(self, path: str | PathLike) -> None:
        self._path = Path(path)
        with self._told():
            self._file = sqlite3.connect(self._path)
            self._file.execute("CREATE TABLE IF NOT EXISTS clips (key BLOB PRIMARY KEY, measures BLOB, error TEXT)")

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:  # the disk's fault, or another process's, and not the file's
            raise MeasureCacheError(
                f"{self._path}: cannot be read or written ({error}); make room on that disk, end what else uses the "
                "file, and run the same command again: what was measured is kept"
            ) from None
        except sqlite3.DatabaseError as error:
            raise MeasureCacheError(f"{self._path}: cannot be used as a cache ({error}); delete it") from None

    @staticmethod
    def key(audio: Mapping[str, Any]) -> bytes:
        """The key of `{"bytes", "path"}`: equal for equal bytes, another for each version of the measurement."""
        content = audio["bytes"] if audio["bytes"] is not None else str(audio["path"]).encode()
        digest = hashlib.blake2b(content, digest_size=16)
        digest.update(f"measures {MEASURES_VERSION}".encode())
        return digest.digest()

    def get(self, key: bytes) -> ClipMeasures | str | None:
        """The measures, the error, or None for a clip that was not measured yet."""
        with self._told():
            found = self._file.execute("SELECT measures, error FROM clips WHERE key = ?", (key,)).fetchone()
        if found is None:
            return None
        return found[1] if found[0] is None else _unpack(found[0])

    def add(self, entries: Iterable[tuple[bytes, ClipMeasures | str]]) -> None:
        """Keeps measures or errors, all of `entries` or none."""
        rows = [(key, None, made) if isinstance(made, str) else (key, _pack(made), None) for key, made in entries]
        with self._told(), self._file:
            self._file.executemany("INSERT OR REPLACE INTO clips VALUES (?, ?, ?)", rows)

    def __enter__(self) -> "MeasureCache":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()


def _pack(measures: ClipMeasures) -> bytes:
    return np.concatenate((measures.scalars, measures.spectrum, measures.contour), dtype="<f4").tobytes()


def _unpack(packed: bytes) -> ClipMeasures:
    numbers = np.frombuffer(packed, "<f4")
    scalars, spectrum, contour = np.split(numbers, [len(SCALARS), len(SCALARS) + MEL_BANDS])
    assert len(contour) == CONTOUR_POINTS
    return ClipMeasures(scalars, spectrum, contour)
