# SPDX-License-Identifier: Apache-2.0
"""Check the checkpoint of an earlier stage before anything is read."""

from pathlib import Path

from mser_llm.cli.recipes import recipes_into
from mser_llm.inference.loading import ModelNotFoundError, find_model
from mser_llm.training.model_building import expanded


def check_init_from(init_from: str | None) -> None:
    """Reject a folder without a model as `init_from`, with the recipe that trains it.

    Args:
        init_from: folder or Hub id, which is not looked up; None for a training that starts anew.

    Raises:
        ValueError: there is no such folder, or no model in it.
    """
    if init_from is None or (Path(expanded(init_from)) / "config.json").is_file():
        return
    try:
        find_model(expanded(init_from))
    except ModelNotFoundError as error:
        recipes = recipes_into(init_from)
        if not recipes:
            raise
        problem = str(error).split("; ")[0]
        raise ModelNotFoundError(
            f"{problem}; train that stage first with `run-mser train {recipes[0]} --corpora NAME=PATH`, or "
            "pass another model as --init_from FOLDER"
        ) from error
