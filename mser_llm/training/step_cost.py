# SPDX-License-Identifier: Apache-2.0
"""Count the operations and activations of one training step, without loading weights.

The model is built on PyTorch's `meta` device: tensors have shapes and no data. `FlopCounterMode` counts the operations
of one step, and the tensors that autograd saves for the backward pass are the activations.
"""

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoTokenizer, WhisperFeatureExtractor

from modeling_mser import MSERForEmotionGeneration
from modeling_mser.backbone_files_mser import resolve_backbone
from modeling_mser.backbones_mser import offline_options
from mser_llm.inference.model_types import find_model_type
from mser_llm.inference.tokenizer import build_tokenizer
from mser_llm.io.errors import InputError
from mser_llm.training.arguments import ModelArguments
from mser_llm.training.model_building import (
    backbone_dtypes,
    build_config,
    check_backbones,
    check_model_type,
    classifier_settings,
    continue_classifier,
    expanded,
)
from mser_llm.training.training_arguments import MSERTrainingArguments
from processing_mser import MSERProcessor


@dataclass(frozen=True)
class MetaModel:
    """A model on the `meta` device in training mode, the tokens of a training row, and how many are labels."""

    model: Any
    text_length: int
    label_length: int

    @property
    def frames_per_second(self) -> int:
        """Return spectrogram frames per second, or samples for an encoder of waveforms."""
        return 100 if hasattr(self.model.config.audio_config, "num_mel_bins") else 16000

    @property
    def max_seconds(self) -> float:
        """Return the maximum seconds of a clip that the model uses."""
        return getattr(self.model.config, "max_seconds", math.inf)

    @property
    def cached_bytes_per_second(self) -> float:
        """Return the bytes of cached features per second of speech, in half precision."""
        config = self.model.config
        if self.model.frozen_encoder() is not None:
            return 50 * len(config.used_encoder_layers) * config.audio_config.hidden_size * 2
        return self.frames_per_second * getattr(config.audio_config, "num_mel_bins", 1) * 2


def build_meta_model(arguments: ModelArguments, words: Sequence[str], has_bfloat16: bool = False) -> MetaModel:
    """Build the recipe's model without weights; raise an `InputError` if its configuration is not on this machine."""
    try:
        config = _config(arguments, words)
    except OSError as error:
        names = [arguments.init_from, arguments.audio_backbone, arguments.text_backbone]
        raise InputError(
            " and ".join(name for name in names if name),
            "the configuration is not on this machine and the Hub cannot be reached",
            "download it, pass a folder, or write audio_config and text_config in the recipe",
        ) from error
    text_length, label_length = 0, 1
    if find_model_type(arguments.model_type).has_language_model:
        text_length, label_length = _row_lengths(arguments, config, words)
        for part, dtype in backbone_dtypes(arguments, has_bfloat16).items():
            getattr(config, part).dtype = dtype
    with torch.device("meta"):
        model = find_model_type(arguments.model_type).network(config)
        if isinstance(model, MSERForEmotionGeneration):
            if arguments.init_from is not None:
                model.freeze(audio=arguments.freeze_audio, text=arguments.freeze_text)
            if arguments.lora and config.lora is None:
                model.add_lora(**arguments.lora_settings)
        elif arguments.init_from is not None:
            continue_classifier(model, arguments, arguments.init_from, words)
    return MetaModel(model.train(), text_length, label_length)


def _config(arguments: ModelArguments, words: Sequence[str]) -> Any:
    model_type = find_model_type(arguments.model_type)
    check_backbones(arguments)
    if arguments.init_from is not None:
        place = expanded(arguments.init_from)
        check_model_type(place, arguments.model_type)
        return model_type.network.config_class.from_pretrained(place, **offline_options(place))
    if model_type.has_language_model:
        return build_config(arguments, None if arguments.text_backbone else build_tokenizer())
    place = expanded(arguments.audio_backbone)
    audio = AutoConfig.from_pretrained(place, revision=arguments.audio_backbone_revision, **offline_options(place))
    settings = classifier_settings(arguments)
    return model_type.network.config_class(audio_config=audio, emotion_words=list(words), **settings)


def _row_lengths(arguments: ModelArguments, config: Any, words: Sequence[str]) -> tuple[int, int]:
    """Return the number of tokens in a training row, and how many of them are labels."""
    # The project's own tokenizer replaces one that is not on this machine; lengths differ by one or two tokens.
    tokenizer, place = build_tokenizer(), arguments.init_from or arguments.text_backbone
    with suppress(OSError, ValueError):
        if place is not None:
            tokenizer = AutoTokenizer.from_pretrained(resolve_backbone(expanded(place)), local_files_only=True)
    extractor = WhisperFeatureExtractor(feature_size=config.audio_config.num_mel_bins)
    options = {"num_query_tokens": config.num_query_tokens, "prompt_version": arguments.prompt_version}
    rows = MSERProcessor(extractor, tokenizer, **options).encode_text(len(words), words)
    return rows["labels"].shape[1], int((rows["labels"][:, 1:] != -100).any(0).sum())


@dataclass
class PartCost:
    """Cost of one part of the model; `forward` and `backward` are FLOPs per batch.

    Those of a frozen encoder are the cost of encoding the batch.
    """

    name: str
    parameters: int
    trained: int
    weight_bytes: int
    half: bool
    forward: int
    backward: int = 0


@dataclass(frozen=True)
class StepCost:
    """Cost of one batch: parts (the encoder first), activation memory, and whether the encoder is frozen."""

    parts: tuple[PartCost, ...]
    activation_bytes: int
    encoder_frozen: bool

    @property
    def trained(self) -> int:
        return sum(part.trained for part in self.parts)

    @property
    def weight_bytes(self) -> int:
        return sum(part.weight_bytes for part in self.parts)


def step_cost(meta: MetaModel, rows: int, seconds: float, training: MSERTrainingArguments) -> StepCost:
    """Count one forward and backward pass of a batch; only `bf16` and `gradient_checkpointing` are used."""
    model, config = meta.model, meta.model.config
    saved: dict[int, Any] = {}
    parts: list[PartCost] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        saved[id(storage)] = storage
        return tensor

    def forward(name: str, modules: list[Any], function: Any) -> Any:
        with FlopCounterMode(display=False) as counter:
            result = function()
        weights = [weight for module in modules for weight in module.parameters()]
        buffers = [buffer for module in modules for buffer in module.buffers()]
        parameters = sum(weight.numel() for weight in weights)
        trained = sum(weight.numel() for weight in weights if weight.requires_grad)
        half = training.bf16 or any(weight.dtype == torch.bfloat16 for weight in weights)
        stored = sum(tensor.nbytes for tensor in weights + buffers)
        parts.append(PartCost(name, parameters, trained, stored, half, counter.get_total_flops()))
        return result

    def backward(part: PartCost, outputs: Any, gradient: Any = None) -> None:
        with FlopCounterMode(display=False) as counter:
            torch.autograd.backward(outputs, gradient)
        part.backward = counter.get_total_flops()

    shape = [rows, round(seconds * meta.frames_per_second)]
    if hasattr(config.audio_config, "num_mel_bins"):
        shape.insert(1, config.audio_config.num_mel_bins)
    with torch.device("meta"), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        states, _ = forward("encoder", [model.audio_tower], lambda: model.encode_audio(torch.zeros(shape)))
        features = states.detach().requires_grad_(states.requires_grad)
        if isinstance(model, MSERForEmotionGeneration):
            upper = [model.emotion_qformer, model.projection]
            audio = forward("Q-Former", upper, lambda: model.projection(model.emotion_qformer(features)))
            queries = audio.detach().requires_grad_()
            loss = forward("language model", [model.language_model], lambda: _language_loss(meta, queries, rows))
            backward(parts[2], loss)
            backward(parts[1], audio, queries.grad)
        else:
            upper = [module for name, module in model.named_children() if name != "audio_tower"]
            labels = torch.zeros(rows, dtype=torch.long)
            backward(parts[-1], forward("head", upper, lambda: model(encoder_states=features, labels=labels)).loss)
        if features.grad is not None:
            backward(parts[0], states, features.grad)
    model.zero_grad()
    weights = {id(weight.untyped_storage()) for weight in model.parameters()}
    activations = sum(storage.nbytes() for key, storage in saved.items() if key not in weights)
    if training.gradient_checkpointing:
        # Each layer keeps only its input and is recomputed in the backward pass, one layer at a time.
        layers = max(getattr(getattr(config, "text_config", config), "num_hidden_layers", 1), 1)
        width = getattr(getattr(config, "text_config", config.audio_config), "hidden_size", 0)
        activations = activations // layers + layers * rows * max(meta.text_length, 1) * width * 4
        for part in parts[1:]:
            part.backward += part.forward
    return StepCost(tuple(parts), activations, model.frozen_encoder() is not None)


def _language_loss(meta: MetaModel, queries: torch.Tensor, rows: int) -> torch.Tensor:
    model, length = meta.model, meta.text_length
    tokens = torch.zeros(rows, length - queries.shape[1], dtype=torch.long)
    embeds = torch.cat([queries.to(model.dtype), model.get_input_embeddings()(tokens)], dim=1)
    # transformers uses a 4-D mask unchanged; it would read the values of other masks, and meta tensors have none.
    mask = torch.zeros(rows, 1, length, length, dtype=embeds.dtype)
    options = {"logits_to_keep": meta.label_length, "use_cache": False}
    logits = model.language_model(inputs_embeds=embeds, attention_mask=mask, **options).logits
    targets = torch.zeros(rows, meta.label_length, dtype=torch.long)
    return torch.nn.functional.cross_entropy(logits.float().transpose(1, 2), targets)
