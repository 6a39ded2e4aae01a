# SPDX-License-Identifier: Apache-2.0
"""Private APIs of transformers that no public API replaces, each with the reason for its use.

Class attributes that transformers reads from a subclass (`_supports_sdpa`, `_keep_in_fp32_modules_strict`, …) are set
where the class is defined. The test of this module names the installed version when any of them moves.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import PreTrainedConfig, PreTrainedModel


def build_from_config(cls: type[PreTrainedModel], config: PreTrainedConfig) -> Any:
    """Build a model with random weights. Constructors ignore `config.dtype`; only auto classes have `from_config`."""
    return cls._from_config(config)


def is_stateful(model: PreTrainedModel) -> bool:
    """Return whether a model carries a recurrent state. No configuration reports it."""
    return model._is_stateful


def count_output_frames(encoder: PreTrainedModel, lengths: torch.Tensor) -> torch.Tensor:
    """Count the frames that an encoder returns for lengths in samples. Each architecture has its own rule."""
    return encoder._get_feat_extract_output_lengths(lengths)


def exclude_from_saving(model: PreTrainedModel, keys: set[str]) -> None:
    """Keep state-dict keys out of `save_pretrained`, whose `state_dict=` argument a quantized model ignores."""
    model._keys_to_ignore_on_save = keys


@contextmanager
def quiet_load_report() -> Iterator[None]:
    """Silence the report on missing weights while the caller checks them itself. No setting turns it off."""
    # A filter, because the library reads its logger's level and prints more at a higher one.
    loggers = [logging.getLogger(f"transformers.{name}") for name in ("modeling_utils", "utils.loading_report")]
    drop = logging.Filter("no logger has this name")
    for logger in loggers:
        logger.addFilter(drop)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(drop)
