# SPDX-License-Identifier: Apache-2.0
"""Build the model and the processor that a recipe describes."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeAlias

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoFeatureExtractor,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedTokenizerBase,
    WhisperFeatureExtractor,
)

from modeling_mser import EmotionClassifier, EmotionQFormer, MSERConfig, MSERForEmotionGeneration
from modeling_mser.backbone_files_mser import backbone_config, resolve_backbone
from modeling_mser.backbones_mser import offline_options
from mser_llm.inference.loading import find_model
from mser_llm.inference.model_types import MODEL_TYPES, find_model_type, model_type_of
from mser_llm.inference.tokenizer import build_tokenizer
from mser_llm.io.errors import InputError
from mser_llm.training.arguments import ModelArguments
from processing_mser import EmotionClassifierProcessor, MSERProcessor


def build_config(arguments: ModelArguments, tokenizer: PreTrainedTokenizerBase | None = None) -> MSERConfig:
    """
    Build the configuration that a recipe describes.

    A complete sub-configuration needs no backbone, so that the shape of a gated model can be built without access. The
    tokenizer sets the vocabulary size and special tokens of a language model trained from scratch.
    """
    for name in ("audio_config", "qformer_config", "text_config"):
        check_section(name, getattr(arguments, name) or {})
    text_config: Any = dict(arguments.text_config or {})
    if not text_config and arguments.text_backbone is not None:
        text_config = backbone_config(expanded(arguments.text_backbone), revision=arguments.text_backbone_revision)
    elif tokenizer is not None and arguments.text_backbone is None:
        special = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
        text_config |= {"vocab_size": len(tokenizer), **special}
    try:
        return MSERConfig(
            audio_config=_audio_config(arguments),
            qformer_config=dict(arguments.qformer_config or {}),
            text_config=text_config or None,
            num_query_tokens=arguments.num_query_tokens,
            encoder_layers=arguments.parsed_layers,
            audio_backbone=expanded(arguments.audio_backbone),
            audio_backbone_revision=arguments.audio_backbone_revision,
            text_backbone=expanded(arguments.text_backbone),
            text_backbone_revision=arguments.text_backbone_revision,
            freeze_audio=arguments.freeze_audio,
            freeze_text=arguments.freeze_text,
        )
    except StrictDataclassError as error:
        reason = " ".join(str(error).split())
        source = "audio_config, qformer_config, text_config"
        raise InputError(source, f"not valid ({reason})", "correct the recipe") from error


Model: TypeAlias = MSERForEmotionGeneration | EmotionClassifier
Processor: TypeAlias = MSERProcessor | EmotionClassifierProcessor


def build_model(arguments: ModelArguments, words: Sequence[str]) -> tuple[Model, Processor]:
    """
    Build a model that is ready for training, and its processor.

    Args:
        arguments: the recipe's model section.
        words: the emotion words of the label set.

    Raises:
        BackboneError: a backbone is missing or incomplete.
        InputError: a frozen part would have random weights, the checkpoint has another model type, or the tokenizer
            cannot encode a word.
    """
    check_backbones(arguments)
    found = find_model_type(arguments.model_type)
    if arguments.init_from is not None:
        checkpoint = expanded(arguments.init_from)
        check_model_type(checkpoint, arguments.model_type)
        # Load each part in the precision of this training, which may train a part that the previous one froze.
        options = {"dtype": backbone_dtypes(arguments)} if found.has_language_model else {}
        model = found.network.from_pretrained(checkpoint, **options)
        processor = found.processor.from_pretrained(checkpoint)
        if not found.has_language_model:
            continue_classifier(model, arguments, checkpoint, words)
            return model, processor
        processor.candidate_ids(words)  # raises for unsupported words before anything is encoded
        model.freeze(audio=arguments.freeze_audio, text=arguments.freeze_text)
        if arguments.lora and model.config.lora is None:
            model.add_lora(**arguments.lora_settings)
        model.config.set_labels(words, processor.candidate_ids(words))
        if model.config.learned_words is not None:
            model.config.learned_words = list(dict.fromkeys([*model.config.learned_words, *words]))
        return model, processor

    if not found.has_language_model:
        settings, revision = classifier_settings(arguments), arguments.audio_backbone_revision
        encoder = expanded(arguments.audio_backbone)
        model = found.network.from_backbones(encoder, emotion_words=list(words), audio_revision=revision, **settings)
        extractor = AutoFeatureExtractor.from_pretrained(encoder, revision=revision)
        return model, EmotionClassifierProcessor(extractor, words, settings.get("max_seconds"))
    processor = build_processor(arguments)
    processor.candidate_ids(words)  # raises for unsupported words before any weights are loaded
    config = build_config(arguments, processor.tokenizer)
    config.audio_token_id = processor.audio_token_id
    config.set_labels(words, processor.candidate_ids(words))
    if config.text_backbone is None:
        config.learned_words = list(words)
    # Do not initialize a language model that is loaded next: both would be in memory.
    model = MSERForEmotionGeneration(config, skip_init=() if config.text_backbone is None else ("text",))
    # Smallest part first, so that an error appears before minutes of loading.
    if arguments.qformer_backbone is not None:
        model.emotion_qformer = EmotionQFormer.from_bert(expanded(arguments.qformer_backbone), config)
    model.load_backbones(dtype=backbone_dtypes(arguments))
    if arguments.lora:
        model.add_lora(**arguments.lora_settings)
    tokenizer = processor.tokenizer
    model.generation_config.update(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    return model, processor


def check_backbones(arguments: ModelArguments) -> None:
    """Check that frozen parts, whose weights stay random otherwise, and classifiers have a backbone."""
    if arguments.init_from is not None:
        return
    if not find_model_type(arguments.model_type).has_language_model and arguments.audio_backbone is None:
        raise InputError("audio_backbone", f"not set, and a {arguments.model_type} needs an encoder", "pass one")
    for part in ("audio", "text") if find_model_type(arguments.model_type).has_language_model else ():
        if getattr(arguments, f"freeze_{part}") and getattr(arguments, f"{part}_backbone") is None:
            raise InputError(
                f"freeze_{part}",
                f"true without {part}_backbone would freeze random weights",
                f"pass {part}_backbone, or set freeze_{part} false to train that part from scratch",
            )


def backbone_dtypes(arguments: ModelArguments, has_bfloat16: bool | None = None) -> dict[str, torch.dtype]:
    """Return the precision of each backbone's weights; trained ones are in float32."""
    if has_bfloat16 is None:
        has_bfloat16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    half = arguments.backbone_dtype == "bfloat16" or (arguments.backbone_dtype == "auto" and has_bfloat16)
    frozen = torch.bfloat16 if half else torch.float32
    return {
        "audio_config": frozen if arguments.freeze_audio else torch.float32,
        "text_config": frozen if arguments.freeze_text else torch.float32,
    }


def build_processor(arguments: ModelArguments) -> MSERProcessor:
    """Build the recipe's processor, with the feature extractor and tokenizer of the backbones, if any."""
    if arguments.audio_backbone is not None:
        feature_extractor = WhisperFeatureExtractor.from_pretrained(
            expanded(arguments.audio_backbone), revision=arguments.audio_backbone_revision
        )
    else:
        feature_extractor = WhisperFeatureExtractor(feature_size=(arguments.audio_config or {})["num_mel_bins"])
    if arguments.text_backbone is not None:
        revision = arguments.text_backbone_revision
        place = resolve_backbone(expanded(arguments.text_backbone), revision=revision)
        tokenizer = AutoTokenizer.from_pretrained(place, revision=revision)
    else:
        tokenizer = build_tokenizer()
    return MSERProcessor(
        feature_extractor,
        tokenizer,
        num_query_tokens=arguments.num_query_tokens,
        prompt_version=arguments.prompt_version,
        pad_to=arguments.pad_to,
    )


def parameter_counts(model: Model) -> dict[str, dict[str, int]]:
    """Count all parameters and trained parameters of each part; works on the `meta` device."""

    def count(module: torch.nn.Module) -> dict[str, int]:
        parameters = list(module.parameters())
        return {
            "parameters": sum(parameter.numel() for parameter in parameters),
            "trained": sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        }

    parts = ("audio_tower", "emotion_qformer", "shared", "projection", "language_model", "classifier")
    modules = {part: getattr(model, part, None) for part in parts}
    return {part: count(module) for part, module in modules.items() if module is not None} | {"total": count(model)}


def check_model_type(checkpoint: str, model_type: str) -> None:
    """Check that a checkpoint, a folder or a Hub id, is a model of the recipe's type."""
    if not (Path(checkpoint) / "config.json").is_file():
        find_model(checkpoint)  # raises with a suggestion unless this is a Hub id
    found = model_type_of(checkpoint, **offline_options(checkpoint))
    if not found:
        raise InputError(
            checkpoint,
            "has no config.json with a model_type",
            "pass the output folder of a training, or an id on the Hub",
        )
    if found not in MODEL_TYPES:
        raise InputError(
            checkpoint,
            f"is a model of type {found}, and init_from takes one of {', '.join(MODEL_TYPES)}",
            "pass backbones as audio_backbone and text_backbone",
        )
    if found != model_type:
        raise InputError(
            checkpoint, f"is a model of type {found}, and model_type is {model_type}", f"pass model_type {found}"
        )


def _audio_config(arguments: ModelArguments) -> Any:
    if arguments.audio_config:
        return dict(arguments.audio_config)
    if arguments.audio_backbone is None:
        return None
    place = expanded(arguments.audio_backbone)
    return AutoConfig.from_pretrained(place, revision=arguments.audio_backbone_revision, **offline_options(place))


def expanded(path_or_id: str | None) -> Any:
    """Expand `$VARIABLES` and `~`, so that a recipe works on any machine."""
    if path_or_id is None:
        return None
    expanded = os.path.expandvars(path_or_id)
    unset = re.search(r"\$(\w+|\{[^}]*\})", expanded)
    if unset:
        name, rest = unset[1].strip("{}"), expanded[unset.end() :].strip("/")
        raise InputError(
            path_or_id,
            f"the environment variable {name} is not set",
            f"run `export {name}=FOLDER`{f', with {rest} in that folder,' if rest else ''} or pass a path or a Hub id",
        )
    return os.path.expanduser(expanded)


def classifier_settings(arguments: ModelArguments) -> dict[str, Any]:
    """Return the classifier settings of a recipe's model section, as fields of its configuration."""
    settings = {name: getattr(arguments, name) for name in find_model_type(arguments.model_type).settings}
    return settings | ({"encoder_layers": arguments.parsed_layers} if "encoder_layers" in settings else {})


def continue_classifier(
    model: EmotionClassifier, arguments: ModelArguments, checkpoint: str, words: Sequence[str]
) -> None:
    """
    Prepare a trained classifier for further training on words; of the arguments, only `trained_layers` is used.

    It must have an output for each word.
    """
    own = model.config.learned_words or []
    unknown = [word for word in words if word not in own]
    if unknown:
        raise InputError(
            checkpoint,
            f"is a classifier of {', '.join(own)} and has no output for {', '.join(unknown)}",
            "pass the same labels for both stages",
        )
    model.config.emotion_words = list(words)
    if "trained_layers" in find_model_type(arguments.model_type).settings:
        was_frozen = model.config.freeze_audio
        model.config.trained_layers = arguments.trained_layers
        model.config.used_encoder_layers  # noqa: B018 - raises here rather than in the first step
        if model.config.freeze_audio and not was_frozen:
            model.mark_backbone_changed("audio")
        model.freeze()


TYPES = {"audio_config": "whisper", "qformer_config": "blip_2_qformer", "text_config": "llama"}
# Keys that transformers reads in addition to the fields of a configuration, some of them old names.
_OTHER_KEYS = {"model_type", "torch_dtype", "attn_implementation", "rope_theta", "rope_scaling"}


def check_section(name: str, section: Mapping[str, Any]) -> None:
    """
    Reject misspelled keys in the configuration of a part, such as `audio_config`.

    Unknown keys that resemble no setting are accepted, as in transformers; a published `config.json` has many.
    """
    model_type = section.get("model_type", TYPES[name])
    if model_type not in CONFIG_MAPPING:
        raise InputError(f"{name}: model_type", f"{model_type!r} is unknown to transformers", "correct the recipe")
    config = CONFIG_MAPPING[model_type]
    generation = set(GenerationConfig().to_dict())  # older configurations have these too
    known = {field.name for field in fields(config)} | set(config.attribute_map) | generation | _OTHER_KEYS
    for key in section:
        if key not in known and not key.startswith("_"):
            near = get_close_matches(key, known, 1, cutoff=0.8)
            if near:
                raise InputError(
                    f"{name}: {key}", f"is not a setting of a {model_type} model", f"did you mean {near[0]}?"
                )
