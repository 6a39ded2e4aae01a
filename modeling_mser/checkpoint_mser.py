# SPDX-License-Identifier: Apache-2.0
"""Checkpoints that contain what was trained, and identify the frozen backbones to load with it."""

import copy
import os
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import torch
from safetensors import safe_open
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils import CONFIG_NAME

from .backbone_files_mser import backbone_config, resolve_backbone
from .backbones_mser import (
    HUB_OPTIONS,
    PARTS,
    PLACEMENT,
    BackboneError,
    dtypes_of_parts,
    explain_unreadable_weights,
    language_model_only,
    load_audio_backbone,
    load_text_backbone,
    offline_options,
    options_of_part,
    shape_difference,
    small_part_device_map,
    verify_fingerprint,
)
from .compat_mser import exclude_from_saving, quiet_load_report
from .configuration_mser import MSERConfig
from .file_digests_mser import MODEL_DIGESTS, pop_push_arguments, verified_files, write_digests
from .fingerprint_mser import weight_files
from .lora_mser import inject_lora, is_lora, merge_lora, require_peft
from .outputs_mser import AudioFeatures
from .qformer_mser import EmotionQFormer
from .remote_code_mser import declare_remote_code


class BackboneCheckpointMixin(PreTrainedModel):
    """
    Model with an `audio_tower` and a `language_model` that a checkpoint may omit.

    A frozen part that came from a backbone is not saved. `from_pretrained` loads it again by its id, verifies that it
    is the one the model was trained with, and never returns a model with random weights.
    """

    config: MSERConfig
    # None until `load_backbones` sets them.
    audio_tower: Any
    language_model: Any
    load_audio = staticmethod(load_audio_backbone)

    # Defined by each model
    freeze: Callable[..., None]
    """Freeze or unfreeze parts as the arguments or the configuration say."""
    frozen_encoder: Callable[[], tuple[Any, dict[str, torch.Tensor]] | None]
    """
    Return everything except the clip that the result of `encode_audio` depends on: the selection of layers, and the
    weights up to them. `None` if caching it is useless because all layers are trained.
    """
    encode_audio: Callable[..., tuple[torch.Tensor, torch.Tensor | None]]
    """
    Run the frozen part of the encoder on features `(batch_size, num_mel_bins, num_frames)` or waveforms `(batch_size,
    num_samples)` and the mask of their last axis. Return states `(batch_size, num_layers, num_output_frames,
    hidden_size)` and their mask `(batch_size, num_output_frames)`.
    """
    _embed: Callable[..., AudioFeatures]
    """Compute the embeddings from the states of `encode_audio` and their mask."""

    @classmethod
    def from_backbones(
        cls,
        audio: str,
        text: str | None = None,
        qformer: str | None = None,
        audio_revision: str | None = None,
        text_revision: str | None = None,
        dtype: torch.dtype = torch.float32,
        **config_kwargs: Any,
    ) -> "BackboneCheckpointMixin":
        """
        Build a model for training from a pretrained encoder and, except for a classifier, a pretrained language model.

        Args:
            audio: path or Hub id of the encoder, a Whisper checkpoint for MSER.
            text: a causal language model: path, Hub id, GGUF file or `"smollm2"` (see `resolve_backbone`).
            qformer: a BERT to initialize the Emotion Q-Former from, a path, Hub id or `"minilm"`; `None` for random
                weights.
            audio_revision, text_revision: Hub revisions.
            dtype: dtype of the backbones; the Q-Former stays in float32.
            config_kwargs: other fields of the configuration (`emotion_words`, `num_query_tokens`, …).
        """
        for part, source, revision in (("audio", audio, audio_revision), ("text", text, text_revision)):
            if source is not None:
                config_kwargs[f"{part}_config"] = backbone_config(source, revision=revision)
                config_kwargs[f"{part}_backbone"] = source
                config_kwargs[f"{part}_backbone_revision"] = revision
        config = cls.config_class(**config_kwargs)
        # Large parts that are loaded next are not built at full size with random weights first.
        model = cls(config, skip_init=() if text is None else tuple(PARTS))
        # The smallest part first, so that its errors come before minutes of loading.
        if qformer is not None:
            model.emotion_qformer = EmotionQFormer.from_bert(qformer, config)
        model.load_backbones(dtype=dtype)
        return model

    def get_audio_features(
        self,
        input_features: torch.Tensor | None = None,
        input_features_mask: torch.Tensor | None = None,
        encoder_states: torch.Tensor | None = None,
        encoder_mask: torch.Tensor | None = None,
    ) -> AudioFeatures:
        """
        Compute the emotion embedding of each clip and, for MSER, the audio embeddings for the language model.

        The result of `encode_audio` may be passed instead of the features.
        """
        if (input_features is None) == (encoder_states is None):
            raise ValueError("pass either input_features or encoder_states")
        if encoder_states is None:
            encoder_states, encoder_mask = self.encode_audio(input_features, input_features_mask)
        return self._embed(encoder_states, encoder_mask)

    def load_backbones(
        self, parts: Sequence[str] = ("audio", "text"), accept_other: bool = False, **kwargs: Any
    ) -> None:
        """
        Load encoder and language model from the ids in the configuration, and record their fingerprints there.

        Parts without an id, and parts that were trained since, are skipped.

        Args:
            parts: which of the two.
            accept_other: accept a backbone whose fingerprint is not the recorded one.
            kwargs: passed to their `from_pretrained`; `quantization_config` to the language model only.

        Raises:
            BackboneError: a backbone cannot be loaded completely, or is not the one in the configuration.
        """
        config = self.config
        quantization = kwargs.pop("quantization_config", None)
        wanted = {}
        for part in parts:
            source = getattr(config, f"{part}_backbone")
            if source is None or part in config.changed_backbones:
                continue
            options = {"revision": getattr(config, f"{part}_backbone_revision"), **options_of_part(kwargs, part)}
            if part == "text":
                hub = {name: options[name] for name in HUB_OPTIONS if name in options}
                source = resolve_backbone(source, **hub)
            options |= offline_options(source, options)
            # A copy, so that how it is loaded this time is not saved.
            part_config = copy.deepcopy(getattr(config, f"{part}_config"))
            if part == "text" and quantization is not None:
                options["quantization_config"] = quantization
            wanted[part] = (source, part_config, options)
        # Verify all before loading any, because loading takes minutes.
        verified = {
            part: verify_fingerprint(
                source, part, part_config, getattr(config, f"{part}_backbone_fingerprint"), accept_other, **options
            )
            for part, (source, part_config, options) in wanted.items()
        }
        for part, (source, part_config, options) in wanted.items():
            load = self.load_audio if part == "audio" else load_text_backbone
            backbone = load(source, part_config, **options)
            fingerprint, commit = verified[part]
            setattr(config, f"{part}_backbone_fingerprint", fingerprint)
            setattr(config, f"{part}_backbone_revision", commit or options["revision"])
            if "device_map" not in options and quantization is None:
                backbone = backbone.to(self.device)
            if part == "text" and config.lora is not None:
                inject_lora(backbone, config.lora)
            setattr(self, PARTS[part], backbone)
            device_map = getattr(backbone, "hf_device_map", None)
            if device_map is not None:
                placed = {f"{PARTS[part]}.{name}".rstrip("."): device for name, device in device_map.items()}
                self.hf_device_map = {**getattr(self, "hf_device_map", {}), **placed}
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
        Load a checkpoint, and the frozen backbones that it does not contain by their ids.

        Args:
            audio_backbone, text_backbone: paths or Hub ids that replace those in the checkpoint.
            accept_other_backbones: accept backbones other than those the model was trained with.
            accept_modified_files: load a checkpoint whose files were modified after saving, with a warning.
            args, kwargs: as in `PreTrainedModel.from_pretrained`. `dtype`, `device_map` and `attn_implementation`
                apply to the backbones too. `dtype` may be a dictionary (`{"audio_config": …, "text_config": …}`);
                without it each part has the dtype that it was saved in. The Q-Former stays in float32.
                `quantization_config` quantizes the language model only. `device_map="auto"` (with `max_memory` and
                `offload_folder`) distributes the language model and puts the small parts on the first device.

        Raises:
            ModifiedFilesError: a file of the checkpoint was modified after saving.
            BackboneError: a backbone cannot be loaded or is not the one the model was trained with, or a weight is
                missing or has another shape.
        """
        path = pretrained_model_name_or_path
        kwargs |= offline_options(path, kwargs)
        with verified_files(path, MODEL_DIGESTS, accept_modified_files, **kwargs):
            sources = {"audio": audio_backbone, "text": text_backbone}
            return cls._from_verified(path, sources, accept_other_backbones, *args, **kwargs)

    @classmethod
    def _from_verified(
        cls, path: str, sources: dict[str, str | None], accept_other_backbones: bool, *args: Any, **kwargs: Any
    ) -> "BackboneCheckpointMixin":
        with_info = kwargs.pop("output_loading_info", False)
        hub = {name: kwargs[name] for name in (*HUB_OPTIONS, "subfolder") if kwargs.get(name) is not None}
        config = kwargs.get("config")
        if not isinstance(config, PreTrainedConfig):
            config = cls.config_class.from_pretrained(config or path, **hub)
        omitted = [] if config.includes_backbones else reloadable_parts(config)
        for part, source in sources.items():
            if source is not None and part not in omitted:
                raise BackboneError(
                    str(path), f"contains its own trained {part} part", f"leave out {part}_backbone={source!r}"
                )
        dtypes = dtypes_of_parts(config, kwargs.pop("dtype", kwargs.pop("torch_dtype", None)))
        stored = {part: dtype for part, dtype in dtypes.items() if part not in omitted}
        # transformers reads all weights in one dtype. The widest loses nothing.
        kwargs["dtype"] = reduce(torch.promote_types, (stored or dtypes).values())
        passed_on = ("device_map", "attn_implementation", *PLACEMENT)
        loading: dict[str, Any] = {name: kwargs[name] for name in passed_on if name in kwargs}
        loading["dtype"] = {f"{part}_config": dtype for part, dtype in dtypes.items()}
        quantization = kwargs.get("quantization_config")
        if "text" in omitted:
            kwargs.pop("quantization_config", None)
            kwargs["device_map"] = small_part_device_map(kwargs.get("device_map"))
            kwargs = {name: value for name, value in kwargs.items() if name not in PLACEMENT}
        elif quantization is not None:
            kwargs["quantization_config"] = language_model_only(quantization)
        if config.lora is not None:
            require_peft()  # here, because its import creates tensors, which below would be on the meta device
        with quiet_load_report(), explain_unreadable_weights(str(path)):
            kwargs |= {"use_safetensors": True, "ignore_mismatched_sizes": True, "skip_init": omitted}
            model, info = super().from_pretrained(path, *args, output_loading_info=True, **kwargs)
        if (difference := shape_difference(info["mismatched_keys"])) is not None:
            problem = f"its weights do not fit its config.json: {difference}"
            raise BackboneError(str(path), problem, "copy or train the model again")
        for part, dtype in stored.items():
            if dtype != kwargs["dtype"] and quantization is None and not hasattr(model, "hf_device_map"):
                for name, parameter in getattr(model, PARTS[part]).named_parameters():
                    parameter.data = parameter.data if is_lora(name) else parameter.data.to(dtype)
        for part in omitted:
            if sources[part] is not None and sources[part] != getattr(model.config, f"{part}_backbone"):
                setattr(model.config, f"{part}_backbone", sources[part])
                setattr(model.config, f"{part}_backbone_revision", None)
        if "text" in omitted and quantization is not None:
            loading["quantization_config"] = quantization
        hub_of_backbones = {name: hub[name] for name in HUB_OPTIONS if name in hub and name != "revision"}
        model.load_backbones(omitted, accept_other_backbones, **loading, **hub_of_backbones)
        missing = set(info["missing_keys"])
        if "text" in omitted and model.config.lora is not None:
            missing |= model._load_lora(path, hub)
            info["unexpected_keys"] = {key for key in info["unexpected_keys"] if not is_lora(key)}
        if missing:
            raise BackboneError(
                str(path),
                f"lacks {len(missing)} weights, such as {min(missing)}, and names no backbone that has them",
                "save it with save_pretrained(…, include_backbones=True), or copy or train it again",
            )
        info["missing_keys"] = missing
        model.eval()
        return (model, info) if with_info else model  # type: ignore[return-value]

    @torch.no_grad()
    def _load_lora(self, path: str, hub: dict[str, Any]) -> set[str]:
        """Load the adapters of the language model and return the names of missing ones."""
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
            include_backbones: whether to save frozen parts that came from a backbone; `None` keeps the choice of the
                checkpoint that this model was loaded from, and omits them for a new model.
            args, kwargs: as in `PreTrainedModel.save_pretrained`.

        Raises:
            ValueError: a quantized language model would be included, whose weights are not those of its backbone.
        """
        included = self.config.includes_backbones if include_backbones is None else include_backbones
        quantized = getattr(self.language_model, "is_quantized", False)
        if included and quantized and "text" in reloadable_parts(self.config):
            raise ValueError("include_backbones: a quantized language model cannot be saved; load it unquantized")
        declare_remote_code(self.config)
        for part, name in PARTS.items():
            if (module := getattr(self, name)) is not None:
                getattr(self.config, f"{part}_config").dtype = module.dtype
        exclude_from_saving(self, set() if included else self.frozen_backbone_keys())
        push = pop_push_arguments(save_directory, kwargs)
        super().save_pretrained(save_directory, *args, **kwargs)
        if args[0] if args else kwargs.get("is_main_process", True):
            if included != self.config.includes_backbones:
                saved_config = copy.deepcopy(self.config)
                saved_config.includes_backbones = included
                saved_config.to_json_file(os.path.join(save_directory, CONFIG_NAME))
            write_digests(save_directory, MODEL_DIGESTS)
            if push is not None:
                self.push_to_hub(**push)

    def frozen_backbone_keys(self) -> set[str]:
        """Return the state-dict keys of frozen parts that can be loaded by their backbone's id."""
        prefixes = tuple(f"{PARTS[part]}." for part in reloadable_parts(self.config))
        return {key for key in self.state_dict() if prefixes and key.startswith(prefixes) and not is_lora(key)}

    # Adapters

    def add_lora(self, **settings: Any) -> None:
        """
        Add adapters to the language model, which are trained instead of it. Initially they change nothing.

        Args:
            settings: arguments of `peft.LoraConfig` (`r`, `lora_alpha`, `lora_dropout`, `target_modules`).
        """
        if self.config.lora is not None:
            raise ValueError("the language model already has adapters; train these, or merge_lora() first")
        inject_lora(self.language_model.to(self.device), settings)
        self.config.lora = settings
        self.freeze(text=True)

    def merge_lora(self) -> None:
        """
        Merge the adapters into the language model's weights, which are then saved with every checkpoint.

        Raises:
            ValueError: there are none, or the language model is quantized.
        """
        if self.config.lora is None:
            raise ValueError("the language model has no adapters to merge; add_lora() first")
        if getattr(self.language_model, "is_quantized", False):
            raise ValueError(
                "a quantized language model cannot take its adapters; load it without quantization_config"
            )
        merge_lora(self.language_model)
        self.config.lora = None
        self.mark_backbone_changed("text")
        self.freeze(text=self.config.freeze_text)

    def mark_backbone_changed(self, part: str) -> None:
        """Save a part (`"audio"`, `"text"`) with every checkpoint, since its weights are no longer its backbone's."""
        changed = self.config.changed_backbones
        if getattr(self.config, f"{part}_backbone") is not None and part not in changed:
            self.config.changed_backbones = [*changed, part]


def reloadable_parts(config: PreTrainedConfig) -> list[str]:
    """Return the parts that a checkpoint may omit: frozen, unchanged, and loadable by their backbone's id."""
    return [
        part
        for part in PARTS
        if getattr(config, f"freeze_{part}")
        and getattr(config, f"{part}_backbone") is not None
        and part not in config.changed_backbones
    ]
