# SPDX-License-Identifier: Apache-2.0
"""Load frozen backbones by path or Hub id, and check that every weight came from the backbone's own files."""

import copy
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
from .fingerprint_mser import backbone_fingerprint, compare_fingerprint, weight_files
from .whisper_encoder_mser import MaskedWhisperEncoder


PARTS = {"audio": "audio_tower", "text": "language_model"}
# Arguments of `from_pretrained` that only place the language model.
PLACEMENT = ("max_memory", "offload_folder", "offload_buffers", "offload_state_dict")
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

    The libraries would ask for one file after another, for minutes. `local_files_only` in `given` is respected.
    """
    if os.path.exists(path_or_id) or (given or {}).get("local_files_only") is not None:
        return {}
    try:
        get_session().head(constants.ENDPOINT, timeout=5.0)
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
    """Describe the first of the `mismatched_keys` of transformers' loading info."""
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
    Compare a backbone's files with the recorded fingerprint, if there is one.

    Return the fingerprint of the files and their Hub commit (`None` for a folder), or raise a `BackboneError`.
    """
    if os.path.isfile(adapter := os.path.join(path_or_id, "adapter_config.json")):
        raise BackboneError(
            path_or_id,
            f"the {part} backbone contains adapters, which transformers would load with it",
            f"merge them into its weights, or remove {adapter}",
        )
    ignored = ("lm_head.weight",) if getattr(config, "tie_word_embeddings", False) else ()
    with _explain_load_errors(path_or_id, part):
        files = weight_files(path_or_id, **_check_access(path_or_id, kwargs))
        if recorded is None:
            found, difference = backbone_fingerprint(files, ignored), None
        else:
            found, difference = compare_fingerprint(recorded, files, ignored)
    if difference is not None and not accept_other:
        raise BackboneError(
            path_or_id,
            f"the {part} backbone is not the one that this model was trained with: {difference}",
            f"{_fix(part)}, or accept this one with accept_other_backbones=True",
        )
    # The cache of huggingface_hub keeps a repository's files under snapshots/COMMIT.
    commit = re.search(r"snapshots/([0-9a-f]{40})/", files[0].as_posix())
    return found, None if commit is None else commit[1]


def _check_access(path_or_id: str, kwargs: dict[str, Any]) -> dict[str, Any]:
    """
    Fail on the first file if the Hub is unreachable, and return the `HUB_OPTIONS` among the arguments.

    A loader asks for one file after another, and waits for each.
    """
    options = {name: kwargs[name] for name in HUB_OPTIONS if name in kwargs}
    cached_file(path_or_id, "config.json", **options)
    return options


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


def dtypes_of_parts(config: PreTrainedConfig, requested: Any) -> dict[str, torch.dtype]:
    """Return each part's dtype: `requested` for all or by part, or the dtype that it was saved in."""
    parts = {part: own for part in PARTS if (own := getattr(config, f"{part}_config", None)) is not None}
    if requested in (None, "auto"):
        requested = {f"{part}_config": own.dtype for part, own in parts.items()} | {"": config.dtype}
    if not isinstance(requested, dict):
        requested = {"": requested}
    chosen = {part: requested.get(f"{part}_config") or requested.get("") or torch.float32 for part in parts}
    return {part: getattr(torch, dtype) if isinstance(dtype, str) else dtype for part, dtype in chosen.items()}


def options_of_part(kwargs: dict[str, Any], part: str) -> dict[str, Any]:
    """Select and adapt the loading arguments that apply to one part."""
    chosen = dict(kwargs)
    for name in ("dtype", "attn_implementation"):
        if isinstance(chosen.get(name), dict):
            chosen[name] = chosen[name].get(f"{part}_config", chosen[name].get(""))
    device_map = chosen.pop("device_map", None)
    if isinstance(device_map, dict) and set(device_map) != {""}:
        prefix = PARTS[part]
        device_map = {key[len(prefix) + 1 :]: value for key, value in device_map.items() if key.startswith(prefix)}
    if device_map is not None:
        chosen["device_map"] = device_map if part == "text" else small_part_device_map(device_map)
    return chosen if part == "text" else {name: value for name, value in chosen.items() if name not in PLACEMENT}


def small_part_device_map(device_map: Any) -> Any:
    """Put the parts that are never split on the first device if the map distributes the language model."""
    if device_map in ("auto", "balanced", "balanced_low_0", "sequential"):
        # PyTorch built for an accelerator reports it even if the machine has none.
        device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return {"": torch.device("cpu") if device is None else torch.device(device.type, 0)}
    return device_map


def language_model_only(quantization_config: Any) -> Any:
    """Restrict a quantization to the layers of the language model."""
    chosen = copy.deepcopy(quantization_config)
    kept = ["audio_tower", "emotion_qformer", "projection", "lm_head"]
    for name in ("llm_int8_skip_modules", "modules_to_not_convert"):
        if isinstance(chosen, dict):
            chosen[name] = [*(chosen.get(name) or []), *kept]
        elif hasattr(chosen, name):
            setattr(chosen, name, [*(getattr(chosen, name) or []), *kept])
    return chosen
