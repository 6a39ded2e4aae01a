# SPDX-License-Identifier: Apache-2.0
"""Fingerprint a backbone's weight files, to check that they are those a model was trained with.

The fingerprint is taken from the files, because the tensors of a loaded model may be quantized or in another dtype.
All bytes are hashed: one flipped bit can change every prediction.
"""

import base64
import hashlib
import json
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from transformers.utils import (
    SAFE_WEIGHTS_INDEX_NAME,
    SAFE_WEIGHTS_NAME,
    WEIGHTS_INDEX_NAME,
    WEIGHTS_NAME,
    cached_file,
)

from .file_digests_mser import file_digest, find_file


VALUES_PER_TENSOR = 4
# Relative to the norm. Rounding to bfloat16 changes a value by at most 2^-9 of itself, rounding to float16 by less.
TOLERANCE = 4e-3
# Per tensor: the first bytes of its SHA-256, the index of its dtype, its norm, values from its middle.
_RECORD = np.dtype([("hash", "V16"), ("dtype", "u1"), ("norm", "<f4"), ("samples", "<f4", (VALUES_PER_TENSOR,))])
_NO_SAMPLES = np.zeros(VALUES_PER_TENSOR, "<f4")
_THREADED_BYTES = 1 << 26
_CHUNK = 1 << 24
# Buffers that some versions of transformers save and others compute.
_COMPUTED = re.compile(r"(^|\.)(rotary_emb\.inv_freq|position_ids)$")
_ENCODER = re.compile(r"^(model\.)?encoder\.")


def weight_files(path_or_id: str, **hub_options: Any) -> list[Path]:
    """
    Find the weight files of a checkpoint, downloading them if needed. Safetensors are preferred.

    Raises:
        OSError: there are none, or the Hub is unreachable.
    """
    for single, index in ((SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME), (WEIGHTS_NAME, WEIGHTS_INDEX_NAME)):
        if (file := find_file(path_or_id, single, **hub_options)) is not None:
            return [file]
        if (file := find_file(path_or_id, index, **hub_options)) is not None:
            try:
                names = sorted(set(json.loads(file.read_text(encoding="utf-8"))["weight_map"].values()))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise OSError(f"{file} is damaged ({error}); copy it again") from error
            return [Path(str(cached_file(path_or_id, str(name), **hub_options))) for name in names]
    raise OSError(f"{path_or_id} contains no weights (neither {SAFE_WEIGHTS_NAME} nor {SAFE_WEIGHTS_INDEX_NAME})")


def backbone_fingerprint(files: Sequence[Path], ignored: Sequence[str] = ()) -> dict[str, Any]:
    """
    Read all files and return a backbone's fingerprint, JSON-ready. Of a complete Whisper only the encoder counts.

    Args:
        files: result of `weight_files`.
        ignored: tensors that may or may not be stored, such as a head that is tied to the embeddings.

    Returns:
        For safetensors `tensors`, a hash of names and shapes; `dtypes`; and `records`, 37 bytes per tensor: a hash of
        its bytes, its dtype, norm and samples. For other files `sha256`.
    """
    if any(file.suffix != ".safetensors" for file in files):
        return {"sha256": sorted(file_digest(file) for file in files)}
    locations = _locate_tensors(files, ignored)
    tensors = _tensors(files, [location for _, location in locations])
    dtypes = sorted({tensor.dtype for tensor in tensors})
    facts = [(one.digest[:16], dtypes.index(one.dtype), one.norm, one.samples) for one in tensors]
    with np.errstate(over="ignore"):
        records = np.array(facts, _RECORD)
    return {
        "tensors": _hash_shapes(locations, tensors),
        "dtypes": dtypes,
        "records": base64.b64encode(records.tobytes()).decode(),
    }


def compare_fingerprint(
    recorded: dict[str, Any], files: Sequence[Path], ignored: Sequence[str] = ()
) -> tuple[dict[str, Any], str | None]:
    """
    Return the fingerprint of files, and how they differ from a recorded one, naming a file; `None` if they do not.

    Tensors of the recorded dtype must be equal bit for bit. Tensors of another dtype must have the same norm and the
    same samples, to the precision of 16 bits.
    """
    if "records" in recorded and all(file.suffix == ".safetensors" for file in files):
        # Hashes alone are faster, and mostly enough.
        locations = _locate_tensors(files, ignored)
        tensors = _tensors(files, [location for _, location in locations], hashes_only=True)
        records = _records(recorded)
        if (
            recorded["tensors"] == _hash_shapes(locations, tensors)
            and [tensor.dtype for tensor in tensors] == _dtypes(recorded, records).tolist()
            and [tensor.digest[:16] for tensor in tensors] == [bytes(one) for one in records["hash"]]
        ):
            return recorded, None
    found = backbone_fingerprint(files, ignored)
    return found, _difference(recorded, found, files, ignored)


def _difference(
    recorded: dict[str, Any], found: dict[str, Any], files: Sequence[Path], ignored: Sequence[str]
) -> str | None:
    if found == recorded:
        return None
    if "records" not in recorded or "records" not in found:
        return f"{files[0].name} differs, and only the values of safetensors can be compared"
    if recorded["tensors"] != found["tensors"]:
        return f"the tensors in {', '.join(file.name for file in files[:3])} have other names or shapes"
    before, now = _records(recorded), _records(found)
    same_dtype = _dtypes(recorded, before) == _dtypes(found, now)
    close = np.ones(len(now), bool)
    for name in ("norm", "samples"):
        # One row per tensor. Infinity and NaN never match.
        first, second = (one[name].astype(np.float64).reshape(len(one), -1) for one in (before, now))
        size = np.maximum(np.linalg.norm(first, axis=1), np.linalg.norm(second, axis=1))
        with np.errstate(invalid="ignore"):
            distance = np.linalg.norm(first - second, axis=1)
        close &= np.isfinite(size) & (distance <= TOLERANCE * size + 1e-6)
    same = np.where(same_dtype, before["hash"] == now["hash"], close)
    if same.all():
        return None
    name, (file, _) = _locate_tensors(files, ignored)[int(same.argmin())]
    return f"{int((~same).sum())} of {len(same)} tensors have other values, such as {name} in {file.name}"


def _hash_shapes(locations: Sequence[tuple[str, Any]], tensors: Sequence["_Tensor"]) -> str:
    """Hash names and shapes."""
    lines = "".join(f"{name} {tensor.shape}\n" for (name, _), tensor in zip(locations, tensors, strict=True))
    return hashlib.sha256(lines.encode()).hexdigest()


def _records(fingerprint: dict[str, Any]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(fingerprint["records"]), _RECORD)


def _dtypes(fingerprint: dict[str, Any], records: np.ndarray) -> np.ndarray:
    return np.array(fingerprint["dtypes"])[records["dtype"]]


class _Tensor(NamedTuple):
    shape: list[int]
    dtype: str
    digest: bytes
    norm: float
    samples: np.ndarray


def _locate_tensors(files: Sequence[Path], ignored: Sequence[str]) -> list[tuple[str, tuple[Path, str]]]:
    """Return the tensors that count, sorted: for each its name, and its file with its name there."""
    locations: list[tuple[Path, str]] = []
    for file in files:
        try:
            with safe_open(file, framework="pt") as tensors:
                names = tensors.keys()
        except SafetensorError as error:
            raise OSError(f"{file} cannot be read ({error}); copy it again") from error
        locations += [(file, name) for name in names]
    if any(_ENCODER.match(name) for _, name in locations):
        locations = [(file, name) for file, name in locations if _ENCODER.match(name)]
    named = [(_ENCODER.sub("", name), (file, name)) for file, name in locations]
    return sorted(one for one in named if one[0] not in ignored and not _COMPUTED.search(one[0]))


def _tensors(files: Sequence[Path], locations: Sequence[tuple[Path, str]], hashes_only: bool = False) -> list[_Tensor]:
    read = partial(_read, hashes_only=hashes_only)
    if sum(file.stat().st_size for file in files) <= _THREADED_BYTES:
        return read(locations)
    threads = min(8, os.cpu_count() or 1)
    # Python releases its lock while it hashes. Each thread opens the files itself.
    with ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(read, (locations[start::threads] for start in range(threads))))
    return [parts[index % threads][index // threads] for index in range(len(locations))]


def _read(locations: Sequence[tuple[Path, str]], hashes_only: bool) -> list[_Tensor]:
    found: dict[tuple[Path, str], _Tensor] = {}
    for file in dict.fromkeys(file for file, _ in locations):
        with safe_open(file, framework="pt") as tensors:
            for location in locations:
                if location[0] == file:
                    tensor = tensors.get_tensor(location[1])
                    digest = hashlib.sha256(tensor.reshape(-1).view(torch.uint8).numpy()).digest()
                    values = (0.0, _NO_SAMPLES) if hashes_only else _norm_and_samples(tensor)
                    found[location] = _Tensor(list(tensor.shape), str(tensor.dtype), digest, *values)
    return [found[location] for location in locations]


def _norm_and_samples(tensor: torch.Tensor) -> tuple[float, np.ndarray]:
    samples = _NO_SAMPLES.copy()
    if not tensor.numel():
        return 0.0, samples
    parts = tensor.reshape(-1).split(_CHUNK)
    square = sum(float(torch.linalg.vector_norm(part.to(torch.float32))) ** 2 for part in parts)
    middle = [slice(size // 2, size // 2 + 1) for size in tensor.shape[:-1]]
    last = [slice(size // 2, size // 2 + VALUES_PER_TENSOR) for size in tensor.shape[-1:]]
    values = tensor[tuple(middle + last)].to(torch.float32).reshape(-1).numpy()
    samples[: len(values)] = values
    return square**0.5, samples
