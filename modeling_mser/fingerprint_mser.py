# SPDX-License-Identifier: Apache-2.0
"""What a backbone's weight files hold, told by a few kilobytes: is this the one that a model was trained over?

A fingerprint is read from the files, never from a loaded model, whose tensors may be quantised or of another
precision, and from a few values of each tensor, so that one of 16 GB costs no more than its table of contents.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from transformers.utils import (
    SAFE_WEIGHTS_INDEX_NAME,
    SAFE_WEIGHTS_NAME,
    WEIGHTS_INDEX_NAME,
    WEIGHTS_NAME,
    cached_file,
)


VALUES_PER_TENSOR = 4
# Of the values' norm. Rounding to bfloat16 moves a value by at most 2^-9 of itself, to float16 by less.
TOLERANCE = 4e-3
HASHED_BYTES = 1 << 29
"""Files up to this size are hashed; of a larger one the hash is taken only where the Hub's cache tells it."""
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
            names = json.loads(Path(file).read_text(encoding="utf-8"))["weight_map"].values()
            return [Path(str(cached_file(path_or_id, name, **hub_options))) for name in sorted(set(names))]
    raise OSError(f"{path_or_id} holds no weights ({SAFE_WEIGHTS_NAME})")


def backbone_fingerprint(files: Sequence[Path], ignored: Sequence[str] = ()) -> dict[str, Any]:
    """
    The fingerprint of a backbone, as JSON-ready values.

    Of a whole Whisper the encoder alone counts, so that an encoder cut out of it has the same tensors.

    Args:
        files: as `weight_files` gives them.
        ignored: tensors that may or may not be stored, such as a head that is tied to the embeddings.

    Returns:
        `sha256`, of each file, where all could be had cheaply; and for safetensors `tensors`, a hash of their names
        and shapes, and `samples`, `VALUES_PER_TENSOR` float32 values from the middle of each, by name.
    """
    fingerprint: dict[str, Any] = {}
    hashes = [_sha256(file) for file in files]
    if all(hashes):
        fingerprint["sha256"] = sorted(str(one) for one in hashes)
    tensors = _tensors(files, ignored)
    if tensors:
        contents = "".join(f"{name} {shape}\n" for name, shape, _ in tensors)
        samples = np.stack([values for *_, values in tensors]).astype("<f4")
        fingerprint["tensors"] = hashlib.sha256(contents.encode()).hexdigest()
        fingerprint["samples"] = base64.b64encode(samples.tobytes()).decode()
    return fingerprint


def fingerprint_difference(recorded: dict[str, Any], files: Sequence[Path], ignored: Sequence[str] = ()) -> str | None:
    """
    What tells files from those that a fingerprint was taken of; `None` where they hold the same weights.

    Args:
        recorded: what `backbone_fingerprint` gave.
        files, ignored: as there.
    """
    found = backbone_fingerprint(files, ignored)
    if recorded.get("sha256") and recorded["sha256"] == found.get("sha256"):
        return None
    if "samples" not in recorded or "samples" not in found:
        return "its files are others, and only safetensors can be compared by their values"
    if recorded["tensors"] != found["tensors"]:
        return "its tensors have other names or shapes"
    before, now = _samples(recorded), _samples(found)
    distance = np.linalg.norm(before - now, axis=1)
    # Not-a-number is no match.
    same = distance <= TOLERANCE * np.maximum(np.linalg.norm(before, axis=1), np.linalg.norm(now, axis=1)) + 1e-6
    if same.all():
        return None
    name, *_ = _tensors(files, ignored)[int(same.argmin())]
    return f"{int((~same).sum())} of its {len(same)} tensors hold other values, {name} among them"


def _samples(fingerprint: dict[str, Any]) -> np.ndarray:
    values = np.frombuffer(base64.b64decode(fingerprint["samples"]), "<f4")
    return values.reshape(-1, VALUES_PER_TENSOR).astype(np.float64)


def _tensors(files: Sequence[Path], ignored: Sequence[str]) -> list[tuple[str, list[int], np.ndarray]]:
    """Name, shape and sampled values of each tensor, by name; nothing of files other than safetensors."""
    if any(file.suffix != ".safetensors" for file in files):
        return []
    found = [tensor for file in files for tensor in _read(file)]
    if any(_ENCODER.match(name) for name, *_ in found):
        found = [(_ENCODER.sub("", name), shape, values) for name, shape, values in found if _ENCODER.match(name)]
    return sorted(
        (tensor for tensor in found if tensor[0] not in ignored and not _COMPUTED.search(tensor[0])),
        key=lambda tensor: tensor[0],
    )


def _read(file: Path) -> Iterator[tuple[str, list[int], np.ndarray]]:
    with safe_open(file, framework="pt") as tensors:
        names = tensors.keys()
        for name in names:
            shape = tensors.get_slice(name).get_shape()
            values = np.zeros(VALUES_PER_TENSOR)
            if 0 not in shape:
                middle = [slice(size // 2, size // 2 + 1) for size in shape[:-1]]
                last = [slice(size // 2, size // 2 + VALUES_PER_TENSOR) for size in shape[-1:]]
                lazy = tensors.get_slice(name)
                taken = (lazy[tuple(middle + last)] if shape else tensors.get_tensor(name)).float().flatten().numpy()
                values[: len(taken)] = taken
            yield name, list(shape), values


def _sha256(file: Path) -> str | None:
    stored = file.resolve()
    if stored.parent.name == "blobs" and re.fullmatch(r"[0-9a-f]{64}", stored.name):
        return stored.name  # the Hub's cache calls a large file by its hash
    if stored.stat().st_size > HASHED_BYTES:
        return None
    digest = hashlib.sha256()
    with open(stored, "rb") as content:
        while block := content.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


__all__ = ["backbone_fingerprint", "fingerprint_difference", "weight_files"]
