# SPDX-License-Identifier: Apache-2.0
"""Checkpoints that hold what was trained, and name what was frozen so that it is found again, and no other."""

import copy
from collections.abc import Sequence
from functools import reduce
from typing import Any

import torch
from safetensors import safe_open
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel

from .backbones_mser import (
    HUB_OPTIONS,
    BackboneError,
    explain_unreadable_weights,
    load_audio_backbone,
    load_text_backbone,
    offline_options,
    quiet_load_report,
    shape_difference,
    verify_fingerprint,
)
from .configuration_mser import MSERConfig
from .file_digests_mser import MODEL_DIGESTS, pop_push_arguments, verified_files, write_digests
from .fingerprint_mser import weight_files
from .lora_mser import inject_lora, is_lora, merge_lora, require_peft
from .qformer_mser import EmotionQFormer
from .remote_code_mser import declare_remote_code


PARTS = {"audio": "audio_tower", "text": "language_model"}
# Arguments of `from_pretrained` for every part, and those that spread the language model.
_PASSED_ON = ("device_map", "attn_implementation")
_SPREADING = ("max_memory", "offload_folder", "offload_buffers", "offload_state_dict")


class BackboneCheckpointMixin(PreTrainedModel):
    """
    A model with an `audio_tower` and a `language_model` that a checkpoint may leave out.

    A frozen part that came from a backbone is not saved; `from_pretrained` loads it again by its id, verifies that it
    is the one that the model was trained with, and never returns a model with random weights.
    """

    config: MSERConfig
    # None while `from_pretrained` has not put it in.
    audio_tower: Any
    language_model: Any
    load_audio = staticmethod(load_audio_backbone)

    def freeze(self, audio: bool | None = None, qformer: bool | None = None, text: bool | None = None) -> None:
        raise NotImplementedError

    @classmethod
    def from_backbones(
        cls,
        audio: str,
        text: str,
        qformer: str | None = None,
        audio_revision: str | None = None,
        text_revision: str | None = None,
        dtype: torch.dtype = torch.float32,
        **config_kwargs: Any,
    ) -> "BackboneCheckpointMixin":
        """
        A model to be trained, over a pretrained encoder and a pretrained language model.

        Args:
            audio: path or Hub id of a Whisper checkpoint.
            text: path or Hub id of a causal language model.
            qformer: path or Hub id of a BERT to initialise the Emotion Q-Former from; `None` for random weights.
            audio_revision, text_revision: Hub revisions.
            dtype: of the backbones; the Q-Former stays in float32.
            config_kwargs: further fields of `MSERConfig` (`qformer_config`, `num_query_tokens`, `encoder_layers`, …).
        """
        config = MSERConfig(
            audio_config=AutoConfig.from_pretrained(audio, revision=audio_revision),
            text_config=AutoConfig.from_pretrained(text, revision=text_revision),
            audio_backbone=audio,
            audio_backbone_revision=audio_revision,
            text_backbone=text,
            text_backbone_revision=text_revision,
            **config_kwargs,
        )
        # What is loaded in a moment is not built at random before, at its full size and once more.
        model = cls(config, skip_init=tuple(PARTS))
        # The smallest first, so that an error comes before minutes of loading.
        if qformer is not None:
            model.emotion_qformer = EmotionQFormer.from_bert(qformer, config)
        model.load_backbones(dtype=dtype)
        return model

    def load_backbones(
        self, parts: Sequence[str] = ("audio", "text"), accept_other: bool = False, **kwargs: Any
    ) -> None:
        """
        Loads the encoder and the language model from the ids in the configuration, where it names any and they were
        not trained since, and takes their fingerprints down there.

        Args:
            parts: which of the two.
            accept_other: whether one will do whose fingerprint is not that in the configuration.
            kwargs: passed on to their `from_pretrained`; `quantization_config` to the language model alone.

        Raises:
            BackboneError: a backbone cannot be loaded, or not in full, or is not the one in the configuration.
        """
        config = self.config
        text_alone = kwargs.pop("quantization_config", None)
        wanted = {}
        for part in parts:
            place = getattr(config, f"{part}_backbone")
            if place is None or part in config.changed_backbones:
                continue
            options = {"revision": getattr(config, f"{part}_backbone_revision"), **_for_part(kwargs, part)}
            options |= offline_options(place, options)
            # A copy, so that nothing of how it was loaded this time is saved.
            shape = copy.deepcopy(getattr(config, f"{part}_config"))
            if part == "text" and text_alone is not None:
                options["quantization_config"] = text_alone
            wanted[part] = (place, shape, options)
        # All are verified before one is loaded, as loading takes minutes.
        verified = {
            part: verify_fingerprint(
                place, part, shape, getattr(config, f"{part}_backbone_fingerprint"), accept_other, **options
            )
            for part, (place, shape, options) in wanted.items()
        }
        for part, (place, shape, options) in wanted.items():
            load = self.load_audio if part == "audio" else load_text_backbone
            backbone = load(place, shape, **options)
            fingerprint, commit = verified[part]
            setattr(config, f"{part}_backbone_fingerprint", fingerprint)
            setattr(config, f"{part}_backbone_revision", commit or options["revision"])
            if "device_map" not in options and text_alone is None:
                backbone = backbone.to(self.device)
            if part == "text" and config.lora is not None:
                inject_lora(backbone, config.lora)
            setattr(self, PARTS[part], backbone)
            placed = getattr(backbone, "hf_device_map", None)
            if placed is not None:
                spread = {f"{PARTS[part]}.{name}".rstrip("."): device for name, device in placed.items()}
                self.hf_device_map = {**getattr(self, "hf_device_map", {}), **spread}
        self.freeze(audio=config.freeze_audio, text=config.freeze_text)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str,
        *args: Any,
        audio_backbone: str | None = None,
        text_backbone: str | None = None,
        accept_other_backbones: bool = False,
        accept_modified_files: bool = False,
        **kwargs: Any,
    ) -> "BackboneCheckpointMixin":
        """
        Load a checkpoint, and by their ids the frozen backbones that it does not contain.

        Args:
            audio_backbone, text_backbone: where the backbones are, in place of the ids in the checkpoint.
            accept_other_backbones: take backbones other than those that the model was trained with.
            accept_modified_files: load a checkpoint although its files differ from what was saved, with a warning.
            args, kwargs: as in `PreTrainedModel.from_pretrained`. `dtype`, `device_map` and `attn_implementation`
                hold for the backbones too. `dtype` may be a dictionary (`{"audio_config": …, "text_config": …}`);
                without one each part has the precision that it was saved in. The Q-Former stays in float32.
                `quantization_config` quantises the language model alone. A `device_map` that spreads ("auto", with
                `max_memory` and `offload_folder`) spreads the language model and puts the small parts on the first
                device.

        Raises:
            ModifiedFilesError: a file of the checkpoint is not as it was saved.
            BackboneError: a backbone cannot be loaded or is not the one that the model was trained with, or a weight
                is missing or has another shape. A model with random weights is never returned.
        """
        path = pretrained_model_name_or_path
        kwargs |= offline_options(path, kwargs)
        with verified_files(path, MODEL_DIGESTS, accept_modified_files, **kwargs):
            places = {"audio": audio_backbone, "text": text_backbone}
            return cls._from_verified(path, places, accept_other_backbones, *args, **kwargs)

    @classmethod
    def _from_verified(
        cls, path: str, places: dict[str, str | None], accept_other_backbones: bool, *args: Any, **kwargs: Any
    ) -> "BackboneCheckpointMixin":
        """As `from_pretrained`, without verification of the checkpoint's own files."""
        with_info = kwargs.pop("output_loading_info", False)
        hub = {name: kwargs[name] for name in (*HUB_OPTIONS, "subfolder") if kwargs.get(name) is not None}
        config = kwargs.get("config")
        if not isinstance(config, PreTrainedConfig):
            config = cls.config_class.from_pretrained(config or path, **hub)
        left_out = [] if config.includes_backbones else reloadable_parts(config)
        for part, place in places.items():
            if place is not None and part not in left_out:
                raise BackboneError(
                    f"{path} holds its {part} part itself, as it was trained; leave {part}_backbone={place!r} out"
                )
        dtypes = _dtypes_of_parts(config, kwargs.pop("dtype", kwargs.pop("torch_dtype", None)))
        held = {part: dtype for part, dtype in dtypes.items() if part not in left_out}
        # The library has one precision for all that it reads; nothing is lost in the widest.
        kwargs["dtype"] = reduce(torch.promote_types, (held or dtypes).values())
        loading: dict[str, Any] = {name: kwargs[name] for name in (*_PASSED_ON, *_SPREADING) if name in kwargs}
        loading["dtype"] = {f"{part}_config": dtype for part, dtype in dtypes.items()}
        quantization = kwargs.get("quantization_config")
        if "text" in left_out:
            kwargs.pop("quantization_config", None)
            kwargs["device_map"] = _of_small_parts(kwargs.get("device_map"))
            kwargs = {name: value for name, value in kwargs.items() if name not in _SPREADING}
        elif quantization is not None:
            kwargs["quantization_config"] = _of_language_model(quantization)
        if config.lora is not None:
            require_peft()  # now: inside, tensors are made without data, and importing it makes some that are used
        with quiet_load_report(), explain_unreadable_weights(path):
            kwargs |= {"use_safetensors": True, "ignore_mismatched_sizes": True, "skip_init": left_out}
            model, info = super().from_pretrained(path, *args, output_loading_info=True, **kwargs)
        if (difference := shape_difference(info["mismatched_keys"])) is not None:
            raise BackboneError(
                f"{path}: its weights do not fit its config.json: {difference}; copy or train the model again"
            )
        for part, dtype in held.items():
            if dtype != kwargs["dtype"] and quantization is None and not hasattr(model, "hf_device_map"):
                for name, parameter in getattr(model, PARTS[part]).named_parameters():
                    parameter.data = parameter.data if is_lora(name) else parameter.data.to(dtype)
        for part in left_out:
            if places[part] is not None and places[part] != getattr(model.config, f"{part}_backbone"):
                setattr(model.config, f"{part}_backbone", places[part])
                setattr(model.config, f"{part}_backbone_revision", None)
        if "text" in left_out and quantization is not None:
            loading["quantization_config"] = quantization
        hub_of_backbones = {name: hub[name] for name in HUB_OPTIONS if name in hub and name != "revision"}
        model.load_backbones(left_out, accept_other_backbones, **loading, **hub_of_backbones)
        missing = set(info["missing_keys"])
        if "text" in left_out and model.config.lora is not None:
            missing |= model._load_lora(path, hub)
            info["unexpected_keys"] = {key for key in info["unexpected_keys"] if not is_lora(key)}
        if missing:
            raise BackboneError(
                f"{path} lacks {len(missing)} weights, {min(missing)} among them, and names no backbone to take them "
                "from; save it with `save_pretrained(…, include_backbones=True)`, or copy or train it again"
            )
        info["missing_keys"] = missing
        model.eval()
        return (model, info) if with_info else model  # type: ignore[return-value]

    @torch.no_grad()
    def _load_lora(self, path: str, hub: dict[str, Any]) -> set[str]:
        """Reads the adapters of the language model out of a checkpoint and returns the names of those it lacks."""
        wanted = {name: value for name, value in self.named_parameters() if is_lora(name)}
        for file in weight_files(path, **hub):
            with safe_open(file, framework="pt") as tensors:
                for name in wanted.keys() & set(tensors.keys()):
                    wanted.pop(name).copy_(tensors.get_tensor(name))
        return set(wanted)

    def save_pretrained(
        self, save_directory: str, *args: Any, include_backbones: bool | None = None, **kwargs: Any
    ) -> None:
        """
        Save what was trained, the code that loads it (`trust_remote_code=True`) and the digests of the files.

        Args:
            include_backbones: whether to write frozen parts that came from a backbone; `None` does as the checkpoint
                did that this model was loaded from, and leaves them out of a new one.
            args, kwargs: as in `PreTrainedModel.save_pretrained`.

        Raises:
            ValueError: a quantised language model was to be included, whose weights are not those of its backbone.
        """
        before = self.config.includes_backbones
        included = before if include_backbones is None else include_backbones
        quantised = getattr(self.language_model, "is_quantized", False)
        if included and quantised and "text" in reloadable_parts(self.config):
            raise ValueError("a quantised language model cannot be included; load it without quantization_config")
        declare_remote_code(self.config)
        for part, name in PARTS.items():
            if (module := getattr(self, name)) is not None:
                getattr(self.config, f"{part}_config").dtype = module.dtype
        self.config.includes_backbones = included
        self._keys_to_ignore_on_save = set() if included else self.frozen_backbone_keys()
        push = pop_push_arguments(save_directory, kwargs)
        try:
            super().save_pretrained(save_directory, *args, **kwargs)
            if args[0] if args else kwargs.get("is_main_process", True):
                write_digests(save_directory, MODEL_DIGESTS)
                if push is not None:
                    self.push_to_hub(**push)
        finally:
            self.config.includes_backbones = before

    def frozen_backbone_keys(self) -> set[str]:
        """State-dict keys of the parts that need not be saved, being frozen and to be had by their backbone's id."""
        prefixes = tuple(f"{PARTS[part]}." for part in reloadable_parts(self.config))
        return {key for key in self.state_dict() if prefixes and key.startswith(prefixes) and not is_lora(key)}

    # Adapters

    def add_lora(self, **settings: Any) -> None:
        """
        Gives the language model adapters, to be trained in its place; at first they change nothing.

        Args:
            settings: arguments of `peft.LoraConfig` (`r`, `lora_alpha`, `lora_dropout`, `target_modules`).
        """
        if self.config.lora is not None:
            raise ValueError("the language model has adapters already; train on with them, or merge_lora() them first")
        inject_lora(self.language_model.to(self.device), settings)
        self.config.lora = settings
        self.freeze(text=True)

    def merge_lora(self) -> None:
        """
        Adds the adapters to the language model's weights. It is then no longer its backbone, and is saved in full.

        Raises:
            ValueError: there are none, or the language model is quantised.
        """
        if self.config.lora is None:
            raise ValueError("the language model has no adapters to merge")
        if getattr(self.language_model, "is_quantized", False):
            raise ValueError("adapters cannot be merged into a quantised language model; load it without quantization")
        merge_lora(self.language_model)
        self.config.lora = None
        self.mark_backbone_changed("text")
        self.freeze(text=self.config.freeze_text)

    def mark_backbone_changed(self, part: str) -> None:
        """Has every checkpoint hold a part (`"audio"`, `"text"`) whose weights are no longer those of its backbone."""
        changed = self.config.changed_backbones
        if getattr(self.config, f"{part}_backbone") is not None and part not in changed:
            self.config.changed_backbones = [*changed, part]


def reloadable_parts(config: PreTrainedConfig) -> list[str]:
    """The parts that a checkpoint need not hold, being frozen and to be had by their backbone's id."""
    return [
        part
        for part in PARTS
        if getattr(config, f"freeze_{part}")
        and getattr(config, f"{part}_backbone") is not None
        and part not in config.changed_backbones
    ]


def _dtypes_of_parts(config: PreTrainedConfig, asked: Any) -> dict[str, torch.dtype]:
    """In which precision each part is loaded: as asked, for all or in a dictionary of parts, or as it was saved."""
    parts = {part: own for part in PARTS if (own := getattr(config, f"{part}_config", None)) is not None}
    if asked in (None, "auto"):
        asked = {f"{part}_config": own.dtype for part, own in parts.items()} | {"": config.dtype}
    if not isinstance(asked, dict):
        asked = {"": asked}
    chosen = {part: asked.get(f"{part}_config") or asked.get("") or torch.float32 for part in parts}
    return {part: getattr(torch, dtype) if isinstance(dtype, str) else dtype for part, dtype in chosen.items()}


def _for_part(kwargs: dict[str, Any], part: str) -> dict[str, Any]:
    """Loading arguments of the whole model as they hold for one part of it."""
    chosen = dict(kwargs)
    for name in ("dtype", "attn_implementation"):
        if isinstance(chosen.get(name), dict):
            chosen[name] = chosen[name].get(f"{part}_config", chosen[name].get(""))
    device_map = chosen.pop("device_map", None)
    if isinstance(device_map, dict) and set(device_map) != {""}:
        prefix = PARTS[part]
        device_map = {key[len(prefix) + 1 :]: value for key, value in device_map.items() if key.startswith(prefix)}
    if device_map is not None:
        chosen["device_map"] = device_map if part == "text" else _of_small_parts(device_map)
    return chosen if part == "text" else {name: value for name, value in chosen.items() if name not in _SPREADING}


def _of_small_parts(device_map: Any) -> Any:
    """Where the parts are that are never spread: the first device, where a map spreads the language model."""
    if device_map in ("auto", "balanced", "balanced_low_0", "sequential"):
        # A PyTorch that was built for an accelerator names it also where there is none.
        device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return {"": torch.device("cpu") if device is None else torch.device(device.type, 0)}
    return device_map


def _of_language_model(quantization_config: Any) -> Any:
    """A quantisation that leaves everything but the language model's layers as they are."""
    chosen = copy.deepcopy(quantization_config)
    kept = ["audio_tower", "emotion_qformer", "projection", "lm_head"]
    for name in ("llm_int8_skip_modules", "modules_to_not_convert"):
        if isinstance(chosen, dict):
            chosen[name] = [*(chosen.get(name) or []), *kept]
        elif hasattr(chosen, name):
            setattr(chosen, name, [*(getattr(chosen, name) or []), *kept])
    return chosen


__all__ = ["BackboneCheckpointMixin", "reloadable_parts"]
