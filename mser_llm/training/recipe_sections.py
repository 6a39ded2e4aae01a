# SPDX-License-Identifier: Apache-2.0
"""A recipe's sections that describe a part's shape, checked key by key: a misspelt one would keep a default."""

from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from typing import Any

from transformers import CONFIG_MAPPING, GenerationConfig


TYPES = {"audio_config": "whisper", "qformer_config": "blip_2_qformer", "text_config": "llama"}
# Read by transformers under an older name, or beside the fields of a configuration.
_BESIDE = {"model_type", "torch_dtype", "attn_implementation", "rope_theta", "rope_scaling"}


def check_section(name: str, section: Mapping[str, Any]) -> None:
    """
    Refuses what is nearly, but not quite, a setting of a part's configuration. Other keys it may not know, such as the
    many of a published `config.json`, pass as they do in transformers.

    Args:
        name: `audio_config`, `qformer_config` or `text_config`.
        section: as the recipe has it.

    Raises:
        ValueError: a misspelt key, with the one that was meant, or an unknown `model_type`.
    """
    model_type = section.get("model_type", TYPES[name])
    if model_type not in CONFIG_MAPPING:
        raise ValueError(f"{name}: model_type is {model_type!r}, which transformers does not know; mend the recipe")
    config = CONFIG_MAPPING[model_type]
    generation = set(GenerationConfig().to_dict())  # older configurations have these too
    known = {field.name for field in fields(config)} | set(config.attribute_map) | generation | _BESIDE
    for key in section:
        if key not in known and not key.startswith("_"):
            near = get_close_matches(key, known, 1, cutoff=0.8)
            if near:
                raise ValueError(f"{name}: {key} is no setting of a {model_type} model; did you mean {near[0]}?")


__all__ = ["check_section"]
