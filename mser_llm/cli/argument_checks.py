# SPDX-License-Identifier: Apache-2.0
"""Checks of arguments that run before anything is read or computed."""

import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mser_llm.cli.recipes import find_recipes_by_output
from mser_llm.io.errors import InputError


def check_sections(sections: Iterable[Any]) -> None:
    """Check the output folders of a command's arguments, and warn of misspelled labels."""
    for section in sections:
        for name in ("output_dir", "cache_dir"):
            folder = getattr(section, name, None)
            if isinstance(folder, str):
                check_folder(f"--{name}", folder, written=name == "output_dir")
        warn_of_misspelled_labels(getattr(section, "labels", None))


def check_folder(flag: str, folder: str | Path, written: bool = False) -> None:
    """Reject a folder that cannot be created."""
    path = Path(folder).expanduser()
    for part in (path, *path.parents):
        if part.is_dir():
            break
        # A broken link is in the way too.
        if part.exists() or part.is_symlink():
            raise InputError(part, "is not a directory", f"pass another {flag}, or move the file away")
    try:
        if written:
            os.rmdir(tempfile.mkdtemp(prefix=".mser-", dir=part))
    except OSError as error:
        raise InputError(path.absolute(), f"cannot be written ({error.strerror})", f"pass another {flag}") from error


def warn_of_misspelled_labels(labels: Any) -> None:
    """Warn on standard error of each label that looks like a misspelled emotion. Any word can be a label."""
    if not isinstance(labels, str) or "," not in labels:
        return
    from processing_mser.emotions_mser import suggest_emotion

    for word in dict.fromkeys(word.strip() for word in labels.split(",")):
        near = suggest_emotion(word)
        if near is not None:
            print(f"warning: label {word!r} is used as written; did you mean {near}?", file=sys.stderr)


def check_init_from(init_from: str | None) -> None:
    """Reject an `init_from` without a model, and name the recipe that trains it."""
    from mser_llm.inference.loading import ModelNotFoundError, find_model
    from mser_llm.training.model_building import expanded

    if init_from is None or (Path(expanded(init_from)) / "config.json").is_file():
        return
    try:
        find_model(expanded(init_from))
    except ModelNotFoundError as error:
        recipes = find_recipes_by_output(init_from)
        if not recipes:
            raise
        fix = (
            f"train that stage first with `run-mser train {recipes[0]} --corpora NAME=PATH`, or pass another model as "
            "--init_from FOLDER"
        )
        raise ModelNotFoundError(error.source, error.problem, fix) from error
