# SPDX-License-Identifier: Apache-2.0
"""The model that a recipe describes, in shape alone: configurations are read, weights are not."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import AutoConfig, AutoTokenizer, WhisperFeatureExtractor

from modeling_mser import MSERForEmotionGeneration
from modeling_mser.hub_mser import hub_options
from mser_llm.inference.model_types import model_classes
from mser_llm.inference.tokenizer import build_tokenizer
from mser_llm.training.arguments import ModelArguments
from mser_llm.training.classifier_building import classifier_settings, continue_classifier
from mser_llm.training.model_building import (
    backbone_dtypes,
    build_config,
    check_frozen_parts,
    check_model_type,
    expanded,
)
from processing_mser import MSERProcessor


class PlanError(ValueError):
    """A model whose shape cannot be known."""


@dataclass(frozen=True)
class Skeleton:
    """
    Attributes:
        model: made of tensors without data, in training mode; used under `mode` alone.
        mode: the `FakeTensorMode` that it was made in.
        text_length, label_length: tokens of a training row, and those of them that are labels.
    """

    model: Any
    mode: FakeTensorMode
    text_length: int
    label_length: int

    @property
    def frames_per_second(self) -> int:
        """Of the features that the encoder takes."""
        return 100 if hasattr(self.model.config.audio_config, "num_mel_bins") else 16000

    @property
    def heard_seconds(self) -> float:
        """What is heard of a clip at most; a model with cropped positions hears no more than these hold."""
        return getattr(self.model.config, "max_seconds", math.inf)


def build_skeleton(arguments: ModelArguments, words: Sequence[str], has_bfloat16: bool = False) -> Skeleton:
    """
    The model in shape, with the parts frozen that the recipe freezes.

    Args:
        arguments: the recipe's model section.
        words: of the label set.
        has_bfloat16: whether it is for a machine that computes in bfloat16 fast.

    Raises:
        PlanError: a configuration is neither written out in the recipe nor to be had.
        ValueError: what training refuses too: a checkpoint of another type, or of none, or for other words; a part
            to be frozen that has no weights.
    """
    mode = FakeTensorMode()
    try:
        config = _config(arguments, words)
    except OSError as error:
        parts = (arguments.init_from, arguments.audio_backbone, arguments.text_backbone)
        raise PlanError(
            f"the configuration of {' or '.join(part for part in parts if part)} is not on this machine, and the Hub "
            "does not give it; fetch it, name a folder that holds it, or write audio_config and text_config out in "
            "the recipe"
        ) from error
    text_length, label_length = 0, 1
    if arguments.model_type == "mser":
        text_length, label_length = _row_lengths(arguments, config, words)
        for part, dtype in backbone_dtypes(arguments, has_bfloat16).items():
            getattr(config, part).dtype = dtype
    with mode, _modules_stay():
        model = model_classes(arguments.model_type)[0](config)
        if isinstance(model, MSERForEmotionGeneration):
            if arguments.init_from is not None:
                model.freeze(audio=arguments.freeze_audio, text=arguments.freeze_text)
            if arguments.lora and config.lora is None:
                model.add_lora(**arguments.lora_settings)
        elif arguments.init_from is not None:
            continue_classifier(model, arguments, arguments.init_from, words)
        model.train()
    return Skeleton(model, mode, text_length, label_length)


@contextmanager
def _modules_stay() -> Iterator[None]:
    """
    Inside, a module's `to` does nothing. Torch refuses to convert weights without data, and there is no need: they are
    on one device, and adapters are made in float32, as they are trained.
    """
    with patch.object(torch.nn.Module, "to", lambda module, *_, **__: module):
        yield


def _config(arguments: ModelArguments, words: Sequence[str]) -> Any:
    network, _ = model_classes(arguments.model_type)
    if arguments.init_from is not None:
        place = expanded(arguments.init_from)
        check_model_type(place, arguments.model_type)
        return network.config_class.from_pretrained(place, **hub_options(place))
    if arguments.model_type == "mser":
        check_frozen_parts(arguments)
        return build_config(arguments, None if arguments.text_backbone else build_tokenizer())
    if arguments.audio_backbone is None:
        raise PlanError(f"audio_backbone is not set, and a {arguments.model_type} has its encoder from one; name it")
    place = expanded(arguments.audio_backbone)
    audio = AutoConfig.from_pretrained(place, revision=arguments.audio_backbone_revision, **hub_options(place))
    return network.config_class(audio_config=audio, emotion_words=list(words), **classifier_settings(arguments))


def _row_lengths(arguments: ModelArguments, config: Any, words: Sequence[str]) -> tuple[int, int]:
    """
    Tokens of a training row and labels among them; by the project's own tokenizer where the language model's is not on
    this machine, which differs by a token or two.
    """
    place = arguments.init_from or arguments.text_backbone
    tokenizer = None
    if place is not None:
        try:
            tokenizer = AutoTokenizer.from_pretrained(expanded(place), local_files_only=True)
        except (OSError, ValueError):
            pass
    extractor = WhisperFeatureExtractor(feature_size=config.audio_config.num_mel_bins)
    processor = MSERProcessor(
        extractor,
        tokenizer or build_tokenizer(),
        num_query_tokens=config.num_query_tokens,
        prompt_version=arguments.prompt_version,
    )
    rows = processor.encode_text(len(words), words)
    return rows["labels"].shape[1], int((rows["labels"][:, 1:] != -100).any(0).sum())
