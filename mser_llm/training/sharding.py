# SPDX-License-Identifier: Apache-2.0
"""Whether a training spreads the weights over its processes (FSDP), and what such a training cannot do."""

import os
from typing import Any

from mser_llm.inference.model_types import find_model_type
from mser_llm.training.arguments import ModelArguments
from mser_llm.training.training_arguments import MSERTrainingArguments


def shards_weights(arguments: MSERTrainingArguments) -> bool:
    """Whether FSDP was asked for, by `accelerate launch` or by the recipe's `fsdp`."""
    return bool(arguments.fsdp) or os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"


def check_sharding(model_arguments: ModelArguments, arguments: MSERTrainingArguments) -> None:
    """
    Refuses FSDP's first version, and what needs the whole model in one process.

    Raises:
        ValueError: names the setting and what to do.
    """
    asked = arguments.fsdp_plugin_args or {"fsdp_version": os.environ.get("FSDP_VERSION", "1")}
    if int(asked["fsdp_version"]) != 2:
        raise ValueError(f"fsdp_version is {asked['fsdp_version']}; give 2, as in configs/accelerate/fsdp.yaml")
    needing = {
        f"model_type {model_arguments.model_type}": not find_model_type(model_arguments.model_type).has_language_model,
        f"average_from {arguments.average_from}": arguments.average_from is not None,
        "auto_find_batch_size": arguments.auto_find_batch_size,
    }
    for setting, given in needing.items():
        if given:
            raise ValueError(
                f"{setting} needs the whole model in one process, and FSDP spreads it; leave it out, or train with "
                "configs/accelerate/ddp.yaml"
            )


def place(model: Any, arguments: MSERTrainingArguments) -> None:
    """
    Moves a model to where it is trained; of one that is to be spread, the encoder alone.

    FSDP moves the rest, each process its share: as a whole the language model may fit on no device.
    """
    (model.audio_tower if shards_weights(arguments) else model).to(arguments.device)


__all__ = ["check_sharding", "place", "shards_weights"]
