# SPDX-License-Identifier: Apache-2.0
"""Which classes a checkpoint is loaded with, by the model type in its configuration."""

from typing import Any


MODEL_TYPES = ("mser", "whisper_classifier", "wav2vec2_classifier")


class ModelTypeError(ValueError):
    """A checkpoint of a model that is none of this project's."""


def model_classes(model_type: str) -> tuple[Any, Any]:
    """The network's class and its processor's.

    Raises:
        ModelTypeError: no model of this project is of that type.
    """
    import modeling_mser
    import processing_mser

    if model_type == "mser":
        return modeling_mser.MSERForEmotionGeneration, processing_mser.MSERProcessor
    if model_type == "whisper_classifier":
        return modeling_mser.WhisperForEmotionClassification, processing_mser.EmotionClassifierProcessor
    if model_type == "wav2vec2_classifier":
        return modeling_mser.Wav2Vec2ForEmotionClassification, processing_mser.EmotionClassifierProcessor
    raise ModelTypeError(f"model type {model_type!r} is none of {', '.join(MODEL_TYPES)}")


def model_type_of(place: str, **hub_options: Any) -> str:
    """The model type of a checkpoint.

    Args:
        place: folder or Hub id.
        hub_options: as for `from_pretrained`.

    Raises:
        OSError: it has no configuration, or cannot be reached.
    """
    from transformers import PreTrainedConfig

    return PreTrainedConfig.get_config_dict(place, **hub_options)[0].get("model_type", "")
