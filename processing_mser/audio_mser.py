# SPDX-License-Identifier: Apache-2.0
"""Read audio in any form as a mono float32 waveform, and find audio files.

Nothing is cut off silently: a recording over the caller's limit raises, so does a file that contains less than its
header says, and `cut_windows` divides a long waveform into windows that cover all of it.
"""

import hashlib
import io
import math
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np


try:
    import soundfile
except (ImportError, OSError):  # OSError: the package is installed, libsndfile is missing
    soundfile = None
try:
    import soxr
except ImportError:
    soxr = None

from .audio_checks_mser import AudioError, AudioTooLongError, Problem, SampleCheck, damaged, flac_bytes
from .container_checks_mser import Inspection, inspect_container


SAMPLING_RATE = 16_000
"""Hz; the encoder's input."""
MAX_SECONDS = 30.0
"""Longest input of the encoder."""
MIN_RATE, MAX_RATE = 1_000, 768_000

AUDIO_EXTENSIONS: tuple[str, ...] = (
    ".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf",
    ".w64", ".rf64", ".voc", ".sph", ".nist",
)  # fmt: skip
"""File name extensions that soundfile reads."""
# `find_audio` also lists these, so that reading them reports an error instead of skipping them.
_FOREIGN_EXTENSIONS = (".m4a", ".aac", ".wma", ".amr", ".webm")

_BLOCK_SAMPLES = 1 << 20
_UNKNOWN_FRAMES = 1 << 62  # libsndfile's value for a header without a length


def load_audio(source: Any, sampling_rate: int = SAMPLING_RATE, max_seconds: float | None = None) -> np.ndarray:
    """Read audio in any form.

    Args:
        source: a path (`~` is expanded), the bytes of a file, a binary file object (read from its current position),
            `{"array", "sampling_rate"}` or `{"raw", "sampling_rate"}`, `{"bytes", "path"}` (either may be `None`), a
            torchcodec `AudioDecoder`, or a numpy array or torch tensor at `sampling_rate`. An array is 1-D, or 2-D
            with the channels on the shorter axis; integers are scaled by their type to [-1, 1), floats are not scaled.
        sampling_rate: of the result, in Hz.
        max_seconds: maximum length; `None` accepts any length.

    Returns:
        `(num_samples,)` float32, channels averaged, resampled with soxr.

    Raises:
        AudioTooLongError: longer than `max_seconds`, or than the memory.
        AudioError: missing, not a file, not permitted, not audio, cut short, empty, all zero, NaN or infinite, shorter
            than `MIN_SECONDS`, at a rate outside 1 kHz to 768 kHz, or in none of the forms above.
        ImportError: soundfile or soxr is needed and not installed.
    """
    with open_audio(source, sampling_rate, max_seconds) as sound:
        check = SampleCheck(sound.name, sound.rate)
        try:
            blocks = []
            for block in sound.blocks:
                check.add(block)
                blocks.append(block)
            check.finish()
            if max_seconds is not None and check.samples > max_seconds * sound.rate:
                raise _too_long(sound.name, check.samples / sound.rate, max_seconds)
            return resampled(sound.name, np.concatenate(blocks), sound.rate, sampling_rate)
        except MemoryError:
            problem = f"does not fit into memory (more than {check.samples / sound.rate / 3600:.1f} h)"
            raise AudioTooLongError(sound.name, problem, "cut it into shorter pieces") from None


def resampler(name: str, rate: int) -> Any:
    """Return the module `soxr`, or raise an `ImportError` that names the recording which needs it."""
    if soxr is None:
        raise ImportError(f"{name}: resampling from {rate} Hz needs soxr; pip install soxr")
    return soxr


def resampled(name: str, samples: np.ndarray, rate: int, sampling_rate: int) -> np.ndarray:
    """Convert samples `(num_samples,)` to another rate, as float32."""
    if rate != sampling_rate:
        samples = resampler(name, rate).resample(samples, rate, sampling_rate)
    return np.ascontiguousarray(samples, dtype=np.float32)


def cut_windows(
    waveform: np.ndarray, sampling_rate: int = SAMPLING_RATE, window_seconds: float = MAX_SECONDS
) -> list[np.ndarray]:
    """Divide a waveform `(num_samples,)` into the fewest windows of at most `window_seconds`, nearly equal in length.

    The windows are views in order, do not overlap, and cover the complete waveform. With unequal lengths, a very short
    last window would count as much as the others.
    """
    if window_seconds <= 0:
        raise ValueError(f"window_seconds is {window_seconds}; pass a positive number of seconds")
    count = math.ceil(len(waveform) / max(1, int(window_seconds * sampling_rate)))
    return np.array_split(waveform, max(1, count))


def find_audio(paths: Iterable[str | os.PathLike]) -> list[Path]:
    """List audio files: files as given, and the files in folders and their subfolders in sorted order.

    Links are followed, but no folder is searched twice. Hidden files and folders are skipped. A missing file, a folder
    without audio and an unreadable folder are returned unchanged, so that `load_audio` reports them one by one.
    """
    found: list[Path] = []
    for path in map(_expand, paths):
        found += (_search(path) or [path]) if path.is_dir() else [path]
    return found


def _search(top: Path) -> list[Path]:
    unreadable: list[OSError] = []
    found: list[Path] = []
    searched = {os.path.realpath(top)}
    for folder, subfolders, files in os.walk(top, onerror=unreadable.append, followlinks=True):
        paths = {name: os.path.realpath(os.path.join(folder, name)) for name in sorted(subfolders)}
        subfolders[:] = [name for name, path in paths.items() if not name.startswith(".") and path not in searched]
        searched.update(paths[name] for name in subfolders)
        known = AUDIO_EXTENSIONS + _FOREIGN_EXTENSIONS
        found += [Path(folder, name) for name in files if name.lower().endswith(known) and not name.startswith(".")]
    return sorted([*found, *(Path(error.filename) for error in unreadable)])


def _expand(path: str | os.PathLike) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:  # `~name` without such a user: a file may have this name
        return Path(path)


def _quoted(name: str) -> str:
    """Quote a file name for a shell; `FILE` for audio without a file."""
    return "FILE" if name.startswith("<") else shlex.quote(name)


def _too_long(name: str, seconds: float, max_seconds: float) -> AudioTooLongError:
    problem = f"is too long ({seconds:.1f} s, maximum {max_seconds:g} s)"
    return AudioTooLongError(name, problem, "cut it into shorter pieces (predict does this itself)")


class Sound(NamedTuple):
    """An opened recording."""

    name: str  # the file, or a placeholder such as `<bytes>`
    rate: int  # Hz
    blocks: Iterator[np.ndarray]  # mono float32 `(num_samples,)`, decoded on iteration


@contextmanager
def open_audio(source: Any, sampling_rate: int = SAMPLING_RATE, max_seconds: float | None = None) -> Iterator[Sound]:
    """
    Open any form of audio for reading block by block, without resampling. Memory does not depend on the length.

    Arguments and errors as in `load_audio`. Errors of single blocks (too long, cut short) are raised during iteration.
    """
    if isinstance(source, Mapping):
        array = source.get("array") if source.get("array") is not None else source.get("raw")
        if array is not None:
            name = str(source.get("path") or "<array>")
            rate = source.get("sampling_rate")
            if rate is None:
                raise AudioError(name, "has no sampling rate (None)", 'pass {"array": ..., "sampling_rate": ...}')
            yield _opened_array(name, rate, array, max_seconds)
            return
        data, path = source.get("bytes"), source.get("path")
        if data is None and not path:
            keys = ", ".join(map(str, source)) or "none"
            fix = "pass array and sampling_rate, bytes or path"
            raise AudioError("<dict>", f"contains no audio (keys: {keys})", fix)
        if data is not None:
            yield from _open_stream(str(path or "<bytes>"), io.BytesIO(data), len(data), max_seconds)
            return
        source = path
    if isinstance(source, (str, os.PathLike)):
        yield from _open_file(source, max_seconds)
    elif isinstance(source, (bytes, bytearray, memoryview)):
        yield from _open_stream("<bytes>", io.BytesIO(source), len(source), max_seconds)
    elif hasattr(source, "get_all_samples"):
        decoded = source.get_all_samples()
        yield _opened_array("<AudioDecoder>", decoded.sample_rate, decoded.data, max_seconds)
    elif hasattr(source, "read"):
        name = str(getattr(source, "name", "<file object>"))
        data = source.read()
        if isinstance(data, str):
            raise AudioError(name, "is open as text", 'open it with mode "rb"')
        yield from _open_stream(name, io.BytesIO(data), len(data), max_seconds)
    elif isinstance(source, np.ndarray) or hasattr(source, "detach"):
        yield _opened_array("<array>", sampling_rate, source, max_seconds)
    else:
        name = type(source).__name__
        fix = "pass a path, bytes, a file object, an array or a dict"
        raise AudioError(f"<{name}>", f"is not an audio source ({name})", fix)


def _opened_array(name: str, given_rate: Any, array: Any, max_seconds: float | None) -> Sound:
    rate, samples = _checked_rate(name, given_rate), _mono_array(name, array)
    if max_seconds is not None and len(samples) > max_seconds * rate:
        raise _too_long(name, len(samples) / rate, max_seconds)
    return Sound(name, rate, iter([samples]))


def _open_file(source: str | os.PathLike, max_seconds: float | None) -> Iterator[Sound]:
    name = os.fspath(source)
    if isinstance(name, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", name):
        raise AudioError(name, "is a URL, not a file", "download it first and pass the path")
    path = _expand(source)
    name = str(source)
    if path.suffix.lower() == ".raw":
        raise AudioError(name, "has raw samples without a header (.raw)", "save it as WAV with its rate")
    try:
        if path.is_dir():
            os.scandir(path).close()  # raises if it is not readable
            fix = "pass an audio file, or a folder that contains some"
            raise AudioError(name, "is a folder, not an audio file", fix)
        if path.exists() and not path.is_file():
            raise AudioError(name, "is a device or a pipe, not a file", "save the audio to a file first")
        with open(path, "rb") as file:
            yield from _open_stream(name, file, os.fstat(file.fileno()).st_size, max_seconds)
    except FileNotFoundError:
        raise AudioError(name, "is missing (no such file)", f"check the path {path.absolute()}") from None
    except PermissionError:
        fix = f"allow it: chmod u+rX {_quoted(name)}"
        raise AudioError(name, "is not readable (permission denied)", fix) from None
    except OSError as error:
        raise AudioError(name, f"cannot be read ({error.strerror or error})", "check the disk and the path") from error


def _open_stream(name: str, file: BinaryIO, size: int, max_seconds: float | None) -> Iterator[Sound]:
    if size == 0:
        raise AudioError(name, "is empty (0 bytes)", "copy or record it again")
    if soundfile is None:
        raise ImportError(f"{name}: reading audio files needs soundfile; pip install soundfile")
    inspection = inspect_container(file, size)
    file.seek(0)
    try:
        sound = soundfile.SoundFile(file)
    except soundfile.LibsndfileError as error:
        problem = f"is not audio that libsndfile reads ({error.error_string.rstrip('.')})"
        raise AudioError(name, problem, f"copy it again, or convert it: ffmpeg -i {_quoted(name)} out.wav") from None
    with sound:
        rate = _checked_rate(name, sound.samplerate)
        if inspection.damage is not None:
            raise _error(name, inspection.damage)
        if sound.frames >= _UNKNOWN_FRAMES:
            raise _no_length(name)
        # Rejects hours of audio before decoding them. With a short limit, decoding is fast and verifies the header.
        longest = None if inspection.guessed else max_seconds
        if longest is not None and longest > MAX_SECONDS and sound.frames > longest * rate:
            raise _too_long(name, sound.frames / rate, longest)
        yield Sound(name, rate, _blocks(name, sound, inspection, max_seconds))


def _blocks(name: str, sound: Any, inspection: Inspection, max_seconds: float | None) -> Iterator[np.ndarray]:
    """Decode the blocks of an open `SoundFile`, and raise if their length differs from the header's."""
    rate, declared, count = sound.samplerate, sound.frames, 0
    flac, width = None, {"PCM_S8": 1, "PCM_16": 2, "PCM_24": 3}.get(sound.subtype, 0)
    if sound.format == "FLAC" and inspection.flac_digest:
        flac = hashlib.md5(usedforsecurity=False)
    try:
        frames, kind = max(1, _BLOCK_SAMPLES // sound.channels), "float32" if flac is None else "int32"
        while len(block := sound.read(frames, kind, always_2d=True)):
            count += len(block)
            if max_seconds is not None and count > max_seconds * rate:
                raise _too_long(name, max(count, declared) / rate, max_seconds)
            if flac is not None:
                flac.update(flac_bytes(block, width))
                block = block.astype(np.float32) * np.float32(2.0**-31)
            yield block[:, 0] if sound.channels == 1 else block.mean(axis=1)
    except soundfile.LibsndfileError:
        raise _error(name, damaged(f"{count / rate:.2f} of {declared / rate:.2f} s are readable")) from None
    expected = declared if inspection.samples is None and not inspection.guessed else inspection.samples
    if expected is not None and count < expected:
        if inspection.guessed:  # libsndfile stops at its guess, which is too low for a variable bit rate
            raise _no_length(name)
        raise _error(name, damaged(f"{count / rate:.2f} of {declared / rate:.2f} s are readable"))
    if expected is not None and count > expected and not inspection.guessed:
        raise _error(name, damaged(f"{count / rate:.2f} instead of {declared / rate:.2f} s are readable"))
    if flac is not None and flac.digest() != inspection.flac_digest:
        raise _error(name, damaged("its samples do not match the MD5 digest in its header"))


def _no_length(name: str) -> AudioError:
    return AudioError(name, "has no length in its header", f"rewrite it: ffmpeg -i {_quoted(name)} out.wav")


def _error(name: str, problem: Problem) -> AudioError:
    return AudioError(name, problem.problem, problem.fix.format(file=_quoted(name)))


def _checked_rate(name: str, rate: Any) -> int:
    try:
        value = float(rate)
    except (TypeError, ValueError):
        problem = f"has a sampling rate that is not a number ({rate!r})"
        raise AudioError(name, problem, "pass it in Hz, such as 16000") from None
    if not MIN_RATE <= value <= MAX_RATE or value != int(value):
        problem = f"has an unsupported sampling rate ({value:g} Hz)"
        raise AudioError(name, problem, f"pass the true rate, an integer from {MIN_RATE} to {MAX_RATE} Hz")
    return int(value)


def _mono_array(name: str, array: Any) -> np.ndarray:
    """Convert a numpy array, torch tensor (any device) or list of numbers to `(num_samples,)` float32."""
    if hasattr(array, "detach"):
        array = array.detach().cpu()
        # numpy has no bfloat16
        array = (array.float() if array.dtype.is_floating_point else array).numpy()
    array = np.asarray(array)
    if array.size == 0:
        return np.zeros(0, np.float32)
    if array.ndim not in (1, 2):
        raise AudioError(name, f"has the wrong shape {array.shape}", "pass (samples,) or (channels, samples)")
    kind, bits = array.dtype.kind, 8 * array.dtype.itemsize
    if kind == "f":
        with np.errstate(over="ignore"):  # overflow gives infinity, which SampleCheck reports
            samples = array.astype(np.float32)
    elif kind in "iu" and bits <= 32:
        # The zero level of unsigned samples is half of their range, as in an 8-bit WAV.
        half = 2.0 ** (bits - 1)
        samples = (array / half - (kind == "u")).astype(np.float32)
    else:
        fix = "pass float samples in [-1, 1] or int16"
        raise AudioError(name, f"has samples of a type without a known scale ({array.dtype})", fix)
    if samples.ndim == 2:
        samples = samples.mean(axis=int(np.argmin(samples.shape)))
    return samples
