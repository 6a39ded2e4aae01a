# SPDX-License-Identifier: Apache-2.0
"""Suggest a trained model of this machine where the named one is missing. Imports no library, to answer at once."""

import difflib
import json
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from mser_llm.inference.model_types import MODEL_TYPES


_DEPTH = 3
_MAX_FOLDERS = 500
_SHOWN = 3


def suggest_model(named: str | None = None, base: str | os.PathLike | None = None) -> str:
    """What to pass instead, as the end of an error message.

    Args:
        named: what was passed as a model; None where nothing was.
        base: the folder to look for models in; by default `runs`, and the nearest existing folder above `named`.
    """
    found = list(dict.fromkeys(str(path) for folder in _bases(named, base) for path in _models(folder)))
    near = difflib.get_close_matches(str(Path(named)), found, n=1) if named else []
    if near or (base is not None and len(found) == 1):
        return f"did you mean {(near or found)[0]}?"
    if found:
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        return f"pass one of the trained models here, {', '.join(found[:_SHOWN])}{more}, or an id on the Hub"
    return (
        "pass the folder of a trained model or its id on the Hub; `run-mser demo` trains a small one, runs/demo/model"
    )


def _bases(named: str | None, base: str | os.PathLike | None) -> list[Path]:
    if base is not None:
        return [Path(base)]
    above = [] if named is None else [folder for folder in Path(named).expanduser().parents if folder.is_dir()][:1]
    return [Path("runs"), *(folder for folder in above if folder != Path("."))]


def _models(base: Path) -> list[Path]:
    """The folders with a model of this project, the base among them, sorted; a training's checkpoints come last."""
    found = []
    for folder in islice(_folders(base, _DEPTH), _MAX_FOLDERS):
        try:
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(config, dict) and config.get("model_type") in MODEL_TYPES:
            found.append(folder)
    return sorted(found, key=lambda folder: (folder.name.startswith("checkpoint-"), folder))


def _folders(base: Path, depth: int) -> Iterator[Path]:
    yield base
    if depth == 0:
        return
    try:
        inner = sorted(entry.path for entry in os.scandir(base) if entry.is_dir() and not entry.name.startswith("."))
    except OSError:
        return
    for folder in inner:
        yield from _folders(Path(folder), depth - 1)
