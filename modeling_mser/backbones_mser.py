# SPDX-License-Identifier: Apache-2.0
"""Load frozen backbones by path or Hub id, and check that every weight came from the backbone's own files."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from huggingface_hub import constants, get_session
from huggingface_hub.errors import HTTPError
from safetensors import SafetensorError
from transformers import AutoModel, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel, WhisperConfig
from transformers.utils import cached_file

from .compat_mser import quiet_load_report
from .fingerprint_mser import backbone_fingerprint, fingerprint_difference, is_unchanged, weight_files
from .whisper_encoder_mser import MaskedWhisperEncoder


HUB_TIMEOUT_SECONDS = 5.0
HUB_OPTIONS = ("cache_dir", "local_files_only", "revision", "token")


class BackboneError(ValueError):
    """
    Weights that are missing, unreachable, incomplete, of another shape, or not those the model was trained with.

    Args:
        source: path or Hub id.
        problem: what is wrong, with the value.
        fix: what to do.
    """

    def __init__(self, source: str, problem: str, fix: str) -> None:
        super().__init__(source, problem, fix)  # all in `args`, so that the error can be pickled
        self.source, self.problem, self.fix = source, problem, fix

    def __str__(self) -> str:
        return f"{self.source}: {self.problem}; {self.fix}"


def offline_options(path_or_id: str, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """
    Return `{"local_files_only": True}` if the Hub is unreachable, so that a loader uses the cache or fails at once.

    The libraries would ask for one file after another, for minutes.

    Args:
        path_or_id: folder or Hub id. A folder needs no Hub.
        given: arguments of `from_pretrained`. `local_files_only` among them is respected.
    """
    if os.path.exists(path_or_id) or (given or {}).get("local_files_only") is not None:
        return {}
    try:
        get_session().head(constants.ENDPOINT, timeout=HUB_TIMEOUT_SECONDS)
    except (HTTPError, OSError):
        return {"local_files_only": True}
    return {}


def load_audio_backbone(path_or_id: str, config: WhisperConfig | None = None, **kwargs: Any) -> MaskedWhisperEncoder:
    """
    Load the encoder of a Whisper checkpoint, which may be a complete Whisper or an encoder alone.

    Args:
        path_or_id: folder or Hub id.
        config: required shape; `None` takes the checkpoint's own.
        kwargs: passed to `from_pretrained` (`revision`, `dtype`, `attn_implementation`, `token`, …).

    Raises:
        BackboneError: it cannot be read, its shape differs, or a weight is missing.
    """
    renames = {r"^(model\.)?encoder\.": ""}
    return _load(MaskedWhisperEncoder, path_or_id, config, "audio", key_mapping=renames, **kwargs)


def load_text_backbone(path_or_id: str, config: PreTrainedConfig | None = None, **kwargs: Any) -> PreTrainedModel:
    """Load a causal language model by folder or Hub id. Arguments and errors as in `load_audio_backbone`."""
    return _load(AutoModelForCausalLM, path_or_id, config, "text", **kwargs)


def load_speech_backbone(path_or_id: str, config: PreTrainedConfig | None = None, **kwargs: Any) -> PreTrainedModel:
    """Load any speech encoder of `AutoModel`. Arguments and errors as in `load_audio_backbone`."""
    return _load(AutoModel, path_or_id, config, "audio", **kwargs)


def _load(loader: Any, path_or_id: str, config: PreTrainedConfig | None, part: str, **kwargs: Any) -> PreTrainedModel:
    kwargs.setdefault("dtype", torch.float32)
    if config is not None:
        kwargs["config"] = config
    with _explain_load_errors(path_or_id, part, (RuntimeError, SafetensorError, TypeError, KeyError, AttributeError)):
        _check_access(path_or_id, kwargs)
        try:
            with quiet_load_report():
                model, info = loader.from_pretrained(
                    path_or_id, output_loading_info=True, ignore_mismatched_sizes=True, **kwargs
                )
        except ImportError as error:
            if "quantization_config" not in kwargs:
                raise
            reason = " ".join(str(error).split())
            raise ImportError(f'{reason}; for 4 and 8 bits: pip install "mser-llm[quantization]"') from error
    # Unexpected keys are fine: a complete Whisper has a decoder too.
    if (difference := shape_difference(info["mismatched_keys"])) is not None:
        raise BackboneError(path_or_id, f"the {part} backbone has another shape: {difference}", _fix(part))
    if missing := sorted(info["missing_keys"]):
        problem = f"the {part} backbone lacks {len(missing)} weights, such as {missing[0]}"
        raise BackboneError(path_or_id, problem, _fix(part))
    return model


def shape_difference(mismatched: Iterable[Any]) -> str | None:
    """
    Describe the first tensor whose shape in the file is not the model's.

    Args:
        mismatched: `mismatched_keys` of transformers' loading info: name, shape in the file, shape in the model.
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
    Compare a backbone's files with the recorded fingerprint.

    Args:
        path_or_id: folder or Hub id.
        part: `"audio"` or `"text"`.
        config: configuration of the backbone.
        recorded: fingerprint of the backbone that the model was trained with, if known.
        accept_other: accept other weights.
        kwargs: `HUB_OPTIONS`; others are ignored.

    Returns:
        The fingerprint of the files, and their Hub commit (`None` for a folder).

    Raises:
        BackboneError: the files differ from the recorded fingerprint, or cannot be read.
    """
    if os.path.isfile(adapter := os.path.join(path_or_id, "adapter_config.json")):
        raise BackboneError(
            path_or_id,
            f"the {part} backbone contains adapters, which transformers would load with it",
            f"merge them into its weights, or remove {adapter}",
        )
    ignored = ("lm_head.weight",) if getattr(config, "tie_word_embeddings", False) else ()
    with _explain_load_errors(path_or_id, part):
        _check_access(path_or_id, kwargs)
        files = weight_files(path_or_id, **_hub_options(kwargs))
        if recorded is not None and is_unchanged(recorded, files, ignored):
            found = recorded
        else:
            found = backbone_fingerprint(files, ignored)
    if recorded is not None and not accept_other:
        difference = fingerprint_difference(recorded, files, ignored, found)
        if difference is not None:
            raise BackboneError(
                path_or_id,
                f"the {part} backbone is not the one that this model was trained with: {difference}",
                f"{_fix(part)}, or accept this one with accept_other_backbones=True",
            )
    # The cache of huggingface_hub keeps a repository's files under snapshots/COMMIT.
    commit = re.search(r"snapshots/([0-9a-f]{40})/", files[0].as_posix())
    return found, None if commit is None else commit[1]


def _check_access(path_or_id: str, kwargs: dict[str, Any]) -> None:
    """Fail on the first file if the Hub is unreachable. A loader asks for one after another, and waits for each."""
    cached_file(path_or_id, "config.json", **_hub_options(kwargs))


def _hub_options(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {name: kwargs[name] for name in HUB_OPTIONS if name in kwargs}


def _fix(part: str) -> str:
    return f"pass {part}_backbone= with the folder or Hub id of the backbone that this model was trained with"


@contextmanager
def _explain_load_errors(path_or_id: str, part: str, more: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    caught: tuple[type[Exception], ...] = (OSError, ValueError, *more)
    try:
        yield
    except caught as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BackboneError(path_or_id, f"the {part} backbone cannot be loaded ({reason})", _fix(part)) from error


@contextmanager
def explain_unreadable_weights(path_or_id: str) -> Iterator[None]:
    """Raise a `BackboneError` that names the checkpoint if its weights are not valid safetensors."""
    try:
        yield
    except SafetensorError as error:
        raise BackboneError(
            path_or_id,
            f"its weights cannot be read ({error}); they are truncated, or are a pointer that git-lfs left",
            "run `git lfs pull` there, or copy it again",
        ) from error
