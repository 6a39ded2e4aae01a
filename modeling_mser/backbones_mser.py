# SPDX-License-Identifier: Apache-2.0
"""Loading the frozen parts by path or id, with proof that every weight came from the checkpoint."""

import contextlib
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from huggingface_hub import constants, get_session
from huggingface_hub.errors import HTTPError
from safetensors import SafetensorError
from transformers import AutoModel, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel, WhisperConfig
from transformers.utils import cached_file
from transformers.utils.hub import extract_commit_hash

from .fingerprint_mser import backbone_fingerprint, fingerprint_difference, is_unchanged, weight_files
from .whisper_encoder_mser import MaskedWhisperEncoder


SECONDS_TO_ANSWER = 5.0
HUB_OPTIONS = ("cache_dir", "local_files_only", "revision", "token")


class BackboneError(ValueError):
    """A backbone is missing, unreachable, incomplete, of another shape, or not the one that was trained with."""


def offline_options(path_or_id: str, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """
    How `from_pretrained` should look for a folder or a repository.

    Args:
        path_or_id: folder or Hub id.
        given: arguments of `from_pretrained`.

    Returns:
        `{"local_files_only": True}` where it is no folder and the Hub does not answer: what lies in the cache serves,
        and what does not is told at once. Else nothing.
    """
    if os.path.exists(path_or_id) or (given or {}).get("local_files_only") is not None:
        return {}
    try:
        # Any answer will do.
        get_session().head(constants.ENDPOINT, timeout=SECONDS_TO_ANSWER)
    except (HTTPError, OSError):
        return {"local_files_only": True}
    return {}


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


def load_speech_backbone(path_or_id: str, config: PreTrainedConfig | None = None, **kwargs: Any) -> PreTrainedModel:
    """A speech encoder of `AutoModel` by folder or Hub id; arguments and errors as in `load_audio_backbone`."""
    return _load(AutoModel, path_or_id, config, "audio", **kwargs)


def _load(loader: Any, path_or_id: str, config: PreTrainedConfig | None, part: str, **kwargs: Any) -> PreTrainedModel:
    kwargs.setdefault("dtype", torch.float32)
    if config is not None:
        kwargs["config"] = config
    cure = _cure(part)
    try:
        # The first to notice that the Hub cannot be reached: a loader asks for one file after another, and waits.
        cached_file(path_or_id, "config.json", **_hub_options(kwargs))
        with quiet_load_report():
            model, info = loader.from_pretrained(
                path_or_id, output_loading_info=True, ignore_mismatched_sizes=True, **kwargs
            )
    except ImportError as error:
        if "quantization_config" not in kwargs:
            raise
        reason = " ".join(str(error).split())
        raise ImportError(f'{reason}; for 4 and 8 bits: pip install "mser-llm[quantization]"') from error
    except (OSError, ValueError, RuntimeError, SafetensorError, TypeError, KeyError, AttributeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BackboneError(f"the {part} backbone {path_or_id!r} cannot be loaded: {reason}; {cure}") from error
    # A whole Whisper has a decoder too, which is not needed here, so unexpected keys are no fault.
    if (difference := shape_difference(info["mismatched_keys"])) is not None:
        raise BackboneError(f"the {part} backbone {path_or_id!r} has other shapes: {difference}; {cure}")
    if absent := sorted(info["missing_keys"]):
        raise BackboneError(
            f"the {part} backbone {path_or_id!r} lacks {len(absent)} of the weights that its shape asks for, "
            f"{absent[0]} among them; {cure}"
        )
    return model


def shape_difference(mismatched: Iterable[Any]) -> str | None:
    """
    Describe the first tensor whose shape is not the model's.

    Args:
        mismatched: `mismatched_keys` of transformers' loading report: name, shape in the file, shape in the model.
    """
    for name, stored, wanted in sorted(mismatched, key=lambda one: one[0]):
        return f"{name} is {tuple(stored)} in the file and {tuple(wanted)} in the model"
    return None


def verify_fingerprint(
    path_or_id: str,
    part: str,
    config: PreTrainedConfig,
    recorded: dict[str, Any] | None = None,
    accept_other: bool = False,
    **kwargs: Any,
) -> tuple[dict[str, Any], str | None]:
    """
    The fingerprint of a backbone's files, which is the recorded one where there is one.

    Args:
        path_or_id: folder or Hub id.
        part: `"audio"` or `"text"`.
        config: its configuration.
        recorded: the fingerprint of the backbone that the model was trained over, if it is known.
        accept_other: whether another one will do.
        kwargs: `HUB_OPTIONS`; others are left aside.

    Returns:
        The fingerprint, and the Hub commit that the files are of; `None` for a folder.

    Raises:
        BackboneError: the files are not those that the fingerprint was taken of.
    """
    if os.path.isfile(adapter := os.path.join(path_or_id, "adapter_config.json")):
        raise BackboneError(
            f"the {part} backbone {path_or_id!r} contains adapters, which transformers would load with it: merge them "
            f"into its weights first, or remove {adapter}"
        )
    ignored = ("lm_head.weight",) if getattr(config, "tie_word_embeddings", False) else ()
    try:
        # The first to notice that the Hub cannot be reached: a loader asks for one file after another, and waits.
        cached_file(path_or_id, "config.json", **_hub_options(kwargs))
        files = weight_files(path_or_id, **_hub_options(kwargs))
        if recorded is not None and is_unchanged(recorded, files, ignored):
            found = recorded
        else:
            found = backbone_fingerprint(files, ignored)
    except (OSError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BackboneError(f"the {part} backbone {path_or_id!r} cannot be loaded: {reason}; {_cure(part)}") from error
    if recorded is not None and not accept_other:
        difference = fingerprint_difference(recorded, files, ignored, found)
        if difference is not None:
            raise BackboneError(
                f"the {part} backbone {path_or_id!r} is not the one that this model was trained with: {difference}; "
                f"{_cure(part)}, or accept this one with `accept_other_backbones=True`"
            )
    return found, extract_commit_hash(str(files[0]), None)


def _hub_options(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {name: kwargs[name] for name in HUB_OPTIONS if name in kwargs}


def _cure(part: str) -> str:
    return f"pass `{part}_backbone=` with the folder or Hub id of the one that this model was trained with"


@contextlib.contextmanager
def explain_unreadable_weights(path_or_id: str) -> Iterator[None]:
    """Weights that are no safetensors, as a `BackboneError` that names where they lie."""
    try:
        yield
    except SafetensorError as error:
        raise BackboneError(
            f"{path_or_id}: its weights cannot be read ({error}); they are cut short, or git-lfs left a pointer in "
            "their place: run `git lfs pull` there, or copy it again"
        ) from error


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


__all__ = [
    "BackboneError",
    "explain_unreadable_weights",
    "load_audio_backbone",
    "load_speech_backbone",
    "load_text_backbone",
    "offline_options",
    "shape_difference",
    "verify_fingerprint",
]
