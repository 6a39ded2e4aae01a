# SPDX-License-Identifier: Apache-2.0
"""From a recipe's model section to one of the two classifiers and its processor."""

from collections.abc import Sequence
from typing import Any

from transformers import AutoFeatureExtractor

from modeling_mser import EmotionClassifier
from mser_llm.inference.model_types import find_model_type
from mser_llm.training.arguments import ModelArguments
from processing_mser import EmotionClassifierProcessor


def build_classifier(
    arguments: ModelArguments, audio_backbone: str, words: Sequence[str]
) -> tuple[EmotionClassifier, EmotionClassifierProcessor]:
    """
    A classifier over a pretrained encoder.

    Args:
        arguments: the recipe's model section.
        audio_backbone: the encoder's folder or Hub id.
        words: its classes.

    Raises:
        BackboneError: the encoder cannot be had in full.
    """
    settings = classifier_settings(arguments)
    network = find_model_type(arguments.model_type).network
    revision = arguments.audio_backbone_revision
    model = network.from_backbone(audio_backbone, words, audio_revision=revision, **settings)
    extractor = AutoFeatureExtractor.from_pretrained(audio_backbone, revision=revision)
    return model, EmotionClassifierProcessor(extractor, words, settings.get("max_seconds"))


def classifier_settings(arguments: ModelArguments) -> dict[str, Any]:
    """What a recipe's model section says of a classifier, as fields of its configuration."""
    settings = {name: getattr(arguments, name) for name in find_model_type(arguments.model_type).settings}
    return settings | ({"encoder_layers": arguments.parsed_layers} if "encoder_layers" in settings else {})


def continue_classifier(
    model: EmotionClassifier, arguments: ModelArguments, checkpoint: str, words: Sequence[str]
) -> None:
    """
    Sets a classifier that was trained before for another training.

    Args:
        model: as it was loaded.
        arguments: the recipe's model section, of which `trained_layers` counts.
        checkpoint: where it came from.
        words: those that it is to be trained on.

    Raises:
        ValueError: a word that it has no output for, or an impossible number of layers.
    """
    own = model.config.learned_words or []
    unknown = [word for word in words if word not in own]
    if unknown:
        raise ValueError(
            f"{checkpoint} is a classifier of {', '.join(own)} and has no output for "
            f"{', '.join(unknown)}; give both stages the same labels"
        )
    model.config.emotion_words = list(words)
    if "trained_layers" in find_model_type(arguments.model_type).settings:
        was_frozen = model.config.freeze_audio
        model.config.trained_layers = arguments.trained_layers
        model.config.used_encoder_layers  # noqa: B018 - refused here rather than in the first step
        if model.config.freeze_audio and not was_frozen:
            model.mark_backbone_changed("audio")
        model.freeze()
