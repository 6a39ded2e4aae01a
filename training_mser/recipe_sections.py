# SPDX-License-Identifier: Apache-2.0
"""A recipe's sections that describe a part's shape, checked key by key: a misspelt one would keep a default."""

from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from typing import Any

from transformers import CONFIG_MAPPING


TYPES = {"audio_config": "whisper", "qformer_config": "blip_2_qformer", "text_config": "llama"}
# Read by transformers under an older name, or beside the fields of a configuration.
_BESIDE = {"model_type", "torch_dtype", "attn_implementation", "rope_theta", "rope_scaling"}


def check_section(name: str, section: Mapping[str, Any]) -> None:
    """
    Refuses what a part's configuration does not have.

    Args:
        name: `audio_config`, `qformer_config` or `text_config`.
        section: as the recipe has it.

    Raises:
        ValueError: an unknown key, with the likeliest one that was meant, or an unknown `model_type`.
    """
    model_type = section.get("model_type", TYPES[name])
    if model_type not in CONFIG_MAPPING:
        raise ValueError(f"{name}: model_type is {model_type!r}, which transformers does not know; mend the recipe")
    config = CONFIG_MAPPING[model_type]
    known = {field.name for field in fields(config)} | set(config.attribute_map) | _BESIDE
    for key in section:
        if key not in known:
            near = get_close_matches(key, known, 1)
            hint = f"; did you mean {near[0]}?" if near else "; leave it out"
            raise ValueError(f"{name}: {key} is no setting of a {model_type} model{hint}")


__all__ = ["check_section"]
