# SPDX-License-Identifier: Apache-2.0
"""Loading the frozen parts by path or id, with proof that every weight came from the checkpoint."""

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel, WhisperConfig

from .whisper_encoder_mser import MaskedWhisperEncoder


class BackboneError(ValueError):
    """A backbone is missing, unreachable, of another shape, or incomplete."""


def load_audio_backbone(path_or_id: str, config: WhisperConfig | None = None, **kwargs: Any) -> MaskedWhisperEncoder:
    """
    The encoder of a Whisper checkpoint, be it a whole Whisper or an encoder alone.

    Args:
        path_or_id: folder or Hub id.
        config: the shape it must have; `None` takes the checkpoint's own.
        kwargs: passed on to `from_pretrained` (`revision`, `dtype`, `attn_implementation`, `token`, …).

    Raises:
        BackboneError: it cannot be read, its shape differs, or a weight is missing.
    """
    whole_or_encoder = {r"^(model\.)?encoder\.": ""}
    return _load(MaskedWhisperEncoder, path_or_id, config, "audio", key_mapping=whole_or_encoder, **kwargs)


def load_text_backbone(path_or_id: str, config: PreTrainedConfig | None = None, **kwargs: Any) -> PreTrainedModel:
    """A causal language model by folder or Hub id; arguments and errors as in `load_audio_backbone`."""
    return _load(AutoModelForCausalLM, path_or_id, config, "text", **kwargs)


def _load(loader: Any, path_or_id: str, config: PreTrainedConfig | None, part: str, **kwargs: Any) -> PreTrainedModel:
    kwargs.setdefault("dtype", torch.float32)
    if config is not None:
        kwargs["config"] = config
    cure = f"pass `{part}_backbone=` with the folder or Hub id of the one that this model was trained with"
    try:
        with quiet_load_report():
            model, info = loader.from_pretrained(path_or_id, output_loading_info=True, **kwargs)
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise BackboneError(f"the {part} backbone {path_or_id!r} cannot be loaded: {reason}; {cure}") from error
    # A whole Whisper holds a decoder too, which is not wanted here, so unexpected keys are no fault; missing ones are.
    absent = sorted(info["missing_keys"]) + sorted(str(key) for key in info["mismatched_keys"])
    if absent:
        raise BackboneError(
            f"the {part} backbone {path_or_id!r} lacks {len(absent)} of the weights that its shape asks for, "
            f"{absent[0]} among them; {cure}"
        )
    return model


@contextlib.contextmanager
def quiet_load_report() -> Iterator[None]:
    """Silences the library's report on missing weights where this package checks them itself, and strictly."""
    # A filter and not a level: the library reads its logger's level and says more at a higher one.
    loggers = [logging.getLogger(f"transformers.{name}") for name in ("modeling_utils", "utils.loading_report")]
    for logger in loggers:
        logger.addFilter(_refuse)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(_refuse)


def _refuse(record: logging.LogRecord) -> bool:
    return False


__all__ = ["BackboneError", "load_audio_backbone", "load_text_backbone"]
