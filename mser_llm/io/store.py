# SPDX-License-Identifier: Apache-2.0
"""Keep values on disk by the digest of what they depend on: the one cache of this project."""

import os
import struct
import uuid
import zlib
from collections.abc import Mapping
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import IO, Any, NamedTuple


_SUFFIX = ".store"
_MAGIC = b"MSER"
_HEADER = struct.Struct("<4s32sQI")
"""Before each value: `_MAGIC`, the key, the length of the value in bytes, its CRC-32."""


class _Place(NamedTuple):
    file: Path
    offset: int
    length: int
    checksum: int


class Store:
    """
    Values by key in one directory, safe with several processes and against kills.

    Each process appends to a file of its own and reads the files of all. A value is there as soon as `write` returns.
    Values that a killed process or a full disk left incomplete are ignored, and so are those with a wrong checksum.
    Only the keys are in memory, about 200 bytes each.

    Args:
        directory: created by the first `write`. Deleting it, or files in it, is safe at any time.
    """

    def __init__(self, directory: str | PathLike):
        self.directory = Path(directory).expanduser()
        self._places: dict[bytes, _Place] = {}
        self._scanned: dict[Path, int] = {}
        self._writer: IO[bytes] | None = None
        self._writer_process = 0
        self.refresh()

    def refresh(self) -> None:
        """Find what other processes wrote since."""
        for file in sorted(self.directory.glob(f"*{_SUFFIX}"), key=_modified):  # of equal keys, the newest wins
            with suppress(FileNotFoundError):
                self._scan(file)

    def __contains__(self, key: str) -> bool:
        return bytes.fromhex(key) in self._places

    def __len__(self) -> int:
        return len(self._places)

    def get(self, key: str) -> bytes | None:
        """
        Return the value of a key; `None` if there is none, or if it is damaged.

        Args:
            key: 64 hexadecimal digits, as [`mser_llm.io.hashing.digest`] returns them.
        """
        place = self._places.get(bytes.fromhex(key))
        if place is None:
            return None
        value = None
        with suppress(FileNotFoundError), open(place.file, "rb") as file:
            file.seek(place.offset)
            value = file.read(place.length)
        if value is not None and len(value) == place.length and zlib.crc32(value) == place.checksum:
            return value
        del self._places[bytes.fromhex(key)]
        return None

    def write(self, values: Mapping[str, bytes]) -> None:
        """
        Add values; one that is there already is replaced.

        Raises:
            OSError: they cannot be written, with the file that could not; none of `values` is kept then.
        """
        if not values:
            return
        writer = self._open_writer()
        file, start = Path(writer.name), writer.tell()
        places = {}
        try:
            for key, value in values.items():
                checksum = zlib.crc32(value)
                _write_all(writer, _HEADER.pack(_MAGIC, bytes.fromhex(key), len(value), checksum))
                places[bytes.fromhex(key)] = _Place(file, writer.tell(), len(value), checksum)
                _write_all(writer, value)
        except BaseException as error:
            with suppress(OSError):
                writer.truncate(start)
            # Another process may have read up to the old end, so nothing else is written here.
            self.close()
            if isinstance(error, OSError):
                error.filename = error.filename or str(file)
            raise
        self._places.update(places)
        self._scanned[file] = writer.tell()

    def close(self) -> None:
        """Close the file that this process writes; a later `write` opens another."""
        if self._writer is not None:
            with suppress(OSError):  # a network file system may report a quota only now
                self._writer.close()
        self._writer = None

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_writer": None}

    def _open_writer(self) -> IO[bytes]:
        # A forked process shares the file of its parent, and a deleted file takes writes that nobody can read.
        ours = self._writer is not None and self._writer_process == os.getpid() and os.path.exists(self._writer.name)
        if self._writer is None or not ours:
            self.directory.mkdir(parents=True, exist_ok=True)
            file = self.directory / f"{uuid.uuid4().hex}{_SUFFIX}"
            self._writer, self._writer_process = open(file, "xb", buffering=0), os.getpid()  # noqa: SIM115
        return self._writer

    def _scan(self, path: Path) -> None:
        offset = self._scanned.get(path, 0)
        size = path.stat().st_size
        if size <= offset:
            return
        with open(path, "rb") as file:
            while size - offset >= _HEADER.size:
                file.seek(offset)
                header = file.read(_HEADER.size)
                if len(header) < _HEADER.size:  # the writer has removed an incomplete value in the meantime
                    break
                magic, key, length, checksum = _HEADER.unpack(header)
                start = offset + _HEADER.size
                if magic != _MAGIC or start + length > size:
                    break
                self._places[key] = _Place(path, start, length, checksum)
                offset = start + length
        self._scanned[path] = offset


def _modified(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_mtime_ns
    return 0


def _write_all(file: IO[bytes], content: bytes) -> None:
    view = memoryview(content)
    while view:
        # A full disk takes a part first, and raises only when asked again.
        view = view[file.write(view) :]
