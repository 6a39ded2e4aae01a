# SPDX-License-Identifier: Apache-2.0
"""Training state in files without pickle: nested Python values with tensors, as safetensors with JSON metadata."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from mser_llm.io.errors import InputError


_STRUCTURE, _DIGEST = "structure", "sha256"
_PLAIN = (str, bool, int, float, type(None))


def save_state(state: Any, file: str | Path) -> None:
    """
    Save nested values, such as the `state_dict` of an optimizer or the state of a random number generator.

    These are dictionaries, lists, tuples, sets, text, numbers, `None`, tensors and NumPy arrays. A value of another
    type, which only pickle could write, raises an `InputError`.
    """
    tensors: dict[str, torch.Tensor] = {}
    structure = json.dumps(_encoded(state, tensors, str(file)))
    save_file(tensors, file, metadata={_STRUCTURE: structure, _DIGEST: _digest(structure, tensors)})


def load_state(file: str | Path) -> Any:
    """
    Load what `save_state` wrote, with tensors on the CPU; a NumPy array comes back as one.

    Raises:
        InputError: the file is missing, or is not as it was saved.
    """
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise InputError(file, "is missing", _fix(file)) from None
    except SafetensorError as error:
        raise InputError(file, f"damaged ({error})", _fix(file)) from error
    structure = metadata.get(_STRUCTURE, "")
    if metadata.get(_DIGEST) != _digest(structure, tensors):
        raise InputError(file, "modified after it was saved", _fix(file))
    return _decoded(json.loads(structure), tensors)


def _fix(file: str | Path) -> str:
    return f"delete {Path(file).parent} to resume from an earlier checkpoint, or start again with --no_resume"


def _digest(structure: str, tensors: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256(structure.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _encoded(value: Any, tensors: dict[str, torch.Tensor], file: str) -> Any:
    """Encode as JSON: plain values unchanged, all others as `[kind, content]`."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (torch.Tensor, np.ndarray)) and type(value) in (torch.Tensor, torch.nn.Parameter, np.ndarray):
        name = str(len(tensors))
        # A copy, because safetensors rejects tensors that share memory.
        tensors[name] = torch.as_tensor(value).detach().to("cpu", copy=True).contiguous()
        return ["array" if isinstance(value, np.ndarray) else "tensor", name]
    if isinstance(value, dict):
        return ["dict", [[_encoded(part, tensors, file) for part in item] for item in value.items()]]
    for kind, type_ in (("list", list), ("tuple", tuple), ("set", set)):
        if isinstance(value, type_):
            return [kind, [_encoded(part, tensors, file) for part in value]]
    raise InputError(
        file,
        f"the training state contains a {type(value).__module__}.{type(value).__name__}, which only pickle could save",
        "pass another optim or lr_scheduler_type",
    )


def _decoded(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if not isinstance(value, list):
        return value
    kind, content = value
    if kind in ("tensor", "array"):
        return tensors[content] if kind == "tensor" else tensors[content].numpy()
    if kind == "dict":
        return {_decoded(name, tensors): _decoded(part, tensors) for name, part in content}
    return {"list": list, "tuple": tuple, "set": set}[kind](_decoded(part, tensors) for part in content)
