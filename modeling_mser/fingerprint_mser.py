# SPDX-License-Identifier: Apache-2.0
"""Fingerprint of a backbone's weight files: is this the one that a model was trained with, undamaged?

A fingerprint is read from the files and not from a loaded model, whose tensors may be quantized or in another
precision. All bytes are hashed, as one flipped bit can change every answer.
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


VALUES_PER_TENSOR = 4
# Relative to the norm. Rounding to bfloat16 moves a value by at most 2^-9 of itself, rounding to float16 by less.
TOLERANCE = 4e-3
# What is recorded of each tensor: the start of its SHA-256, its dtype as an index, its norm, values from its middle.
_RECORD = np.dtype([("hash", "V16"), ("dtype", "u1"), ("norm", "<f4"), ("samples", "<f4", (VALUES_PER_TENSOR,))])
_NO_SAMPLES = np.zeros(VALUES_PER_TENSOR, "<f4")
_THREADED_BYTES = 1 << 26
_CHUNK = 1 << 24
# Buffers that some versions of transformers wrote and others compute.
_COMPUTED = re.compile(r"(^|\.)(rotary_emb\.inv_freq|position_ids)$")
_ENCODER = re.compile(r"^(model\.)?encoder\.")


def weight_files(path_or_id: str, **hub_options: Any) -> list[Path]:
    """
    The files that hold a checkpoint's weights, in safetensors where there are any; downloaded where need be.

    Args:
        path_or_id: folder or Hub id.
        hub_options: as for `cached_file` (`revision`, `subfolder`, `token`, `cache_dir`, `local_files_only`).

    Raises:
        OSError: there are none, or the Hub cannot be reached.
    """
    options = hub_options | {"_raise_exceptions_for_missing_entries": False}
    for whole, index in ((SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME), (WEIGHTS_NAME, WEIGHTS_INDEX_NAME)):
        file = cached_file(path_or_id, whole, **options)
        if file is not None:
            return [Path(file)]
        file = cached_file(path_or_id, index, **options)
        if file is not None:
            try:
                names = sorted(set(json.loads(Path(file).read_text(encoding="utf-8"))["weight_map"].values()))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise OSError(f"{file} is damaged ({error}); copy it again") from error
            return [Path(str(cached_file(path_or_id, str(name), **hub_options))) for name in names]
    raise OSError(f"{path_or_id} holds no weights (neither {SAFE_WEIGHTS_NAME} nor {SAFE_WEIGHTS_INDEX_NAME})")


def backbone_fingerprint(files: Sequence[Path], ignored: Sequence[str] = ()) -> dict[str, Any]:
    """
    The fingerprint of a backbone, as JSON-ready values. Reads all of the files.

    Of a whole Whisper the encoder alone counts, so that an encoder cut out of it has the same tensors.

    Args:
        files: as `weight_files` gives them.
        ignored: tensors that may or may not be stored, such as a head that is tied to the embeddings.

    Returns:
        For safetensors `tensors`, a hash of names and shapes; `dtypes`; and `records`, 37 bytes per tensor: a hash of
        its bytes, its dtype, norm and samples. For other files `sha256`.

    Raises:
        OSError: a file cannot be read.
    """
    if any(file.suffix != ".safetensors" for file in files):
        return {"sha256": sorted(_sha256(file) for file in files)}
    places = _places(files, ignored)
    tensors = _tensors(files, [place for _, place in places])
    dtypes = sorted({tensor.dtype for tensor in tensors})
    facts = [(one.digest[:16], dtypes.index(one.dtype), one.norm, one.samples) for one in tensors]
    with np.errstate(over="ignore"):
        records = np.array(facts, _RECORD)
    return {
        "tensors": _shapes(places, tensors),
        "dtypes": dtypes,
        "records": base64.b64encode(records.tobytes()).decode(),
    }


def is_unchanged(recorded: dict[str, Any], files: Sequence[Path], ignored: Sequence[str] = ()) -> bool:
    """
    Whether files contain the very tensors that a fingerprint was taken of, to the bit; faster than a new fingerprint.

    Args:
        recorded: what `backbone_fingerprint` returned.
        files, ignored: as there.
    """
    if "records" not in recorded or any(file.suffix != ".safetensors" for file in files):
        return recorded == backbone_fingerprint(files, ignored)
    places = _places(files, ignored)
    tensors = _tensors(files, [place for _, place in places], hashes_alone=True)
    records = _records(recorded)
    return (
        recorded["tensors"] == _shapes(places, tensors)
        and [tensor.dtype for tensor in tensors] == _dtypes(recorded, records).tolist()
        and [tensor.digest[:16] for tensor in tensors] == [bytes(one) for one in records["hash"]]
    )


def fingerprint_difference(
    recorded: dict[str, Any],
    files: Sequence[Path],
    ignored: Sequence[str] = (),
    found: dict[str, Any] | None = None,
) -> str | None:
    """
    How files differ from those that a fingerprint was taken of; `None` if they contain the same weights.

    Tensors of the recorded dtype must be equal to the bit. Tensors of another dtype must have the same norm and the
    same samples, to the precision of 16 bits.

    Args:
        recorded: what `backbone_fingerprint` returned.
        files, ignored: as there.
        found: the fingerprint of the files, if it is known.

    Returns:
        What differs, with the name of a file.
    """
    if found is None:
        found = backbone_fingerprint(files, ignored)
    if found == recorded:
        return None
    if "records" not in recorded or "records" not in found:
        return f"{files[0].name} differs, and only safetensors can be compared by their values"
    if recorded["tensors"] != found["tensors"]:
        return f"the tensors in {', '.join(file.name for file in files[:3])} have other names or shapes"
    before, now = _records(recorded), _records(found)
    same_dtype = _dtypes(recorded, before) == _dtypes(found, now)
    close = np.ones(len(now), bool)
    for name in ("norm", "samples"):
        # Each a row of values. Infinity and not-a-number are no match.
        first, second = (one[name].astype(np.float64).reshape(len(one), -1) for one in (before, now))
        size = np.maximum(np.linalg.norm(first, axis=1), np.linalg.norm(second, axis=1))
        with np.errstate(invalid="ignore"):
            distance = np.linalg.norm(first - second, axis=1)
        close &= np.isfinite(size) & (distance <= TOLERANCE * size + 1e-6)
    same = np.where(same_dtype, before["hash"] == now["hash"], close)
    if same.all():
        return None
    name, (file, _) = _places(files, ignored)[int(same.argmin())]
    return f"{int((~same).sum())} of {len(same)} tensors hold other values, {name} in {file.name} among them"


def _shapes(places: Sequence[tuple[str, Any]], tensors: Sequence["_Tensor"]) -> str:
    """A hash of names and shapes."""
    lines = "".join(f"{name} {tensor.shape}\n" for (name, _), tensor in zip(places, tensors, strict=True))
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


def _places(files: Sequence[Path], ignored: Sequence[str]) -> list[tuple[str, tuple[Path, str]]]:
    """The tensors that count, by name: that name, and the file and the name that a tensor has there."""
    places: list[tuple[Path, str]] = []
    for file in files:
        try:
            with safe_open(file, framework="pt") as tensors:
                names = tensors.keys()
        except SafetensorError as error:
            raise OSError(f"{file} cannot be read ({error}); copy it again") from error
        places += [(file, name) for name in names]
    if any(_ENCODER.match(name) for _, name in places):
        places = [(file, name) for file, name in places if _ENCODER.match(name)]
    named = [(_ENCODER.sub("", name), (file, name)) for file, name in places]
    return sorted(one for one in named if one[0] not in ignored and not _COMPUTED.search(one[0]))


def _tensors(files: Sequence[Path], places: Sequence[tuple[Path, str]], hashes_alone: bool = False) -> list[_Tensor]:
    read = partial(_read, hashes_alone=hashes_alone)
    threads = 1
    if sum(file.stat().st_size for file in files) > _THREADED_BYTES:
        threads = min(8, os.cpu_count() or 1)
    if threads == 1:
        return read(places)
    # Python releases its lock while it hashes. Each thread opens the files itself.
    with ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(read, (places[start::threads] for start in range(threads))))
    return [parts[index % threads][index // threads] for index in range(len(places))]


def _read(places: Sequence[tuple[Path, str]], hashes_alone: bool) -> list[_Tensor]:
    found: dict[tuple[Path, str], _Tensor] = {}
    for file in dict.fromkeys(file for file, _ in places):
        with safe_open(file, framework="pt") as tensors:
            for place in places:
                if place[0] == file:
                    tensor = tensors.get_tensor(place[1])
                    digest = hashlib.sha256(tensor.reshape(-1).view(torch.uint8).numpy()).digest()
                    values = (0.0, _NO_SAMPLES) if hashes_alone else _values(tensor)
                    found[place] = _Tensor(list(tensor.shape), str(tensor.dtype), digest, *values)
    return [found[place] for place in places]


def _values(tensor: torch.Tensor) -> tuple[float, np.ndarray]:
    """Norm and samples of a tensor."""
    samples = _NO_SAMPLES.copy()
    if not tensor.numel():
        return 0.0, samples
    parts = tensor.reshape(-1).split(_CHUNK)
    square = sum(float(torch.linalg.vector_norm(part.to(torch.float32))) ** 2 for part in parts)
    middle = [slice(size // 2, size // 2 + 1) for size in tensor.shape[:-1]]
    last = [slice(size // 2, size // 2 + VALUES_PER_TENSOR) for size in tensor.shape[-1:]]
    taken = tensor[tuple(middle + last)].to(torch.float32).reshape(-1).numpy()
    samples[: len(taken)] = taken
    return square**0.5, samples


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with open(file, "rb") as content:
        while block := content.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


__all__ = ["backbone_fingerprint", "fingerprint_difference", "is_unchanged", "weight_files"]
