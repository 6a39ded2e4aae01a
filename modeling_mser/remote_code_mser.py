# SPDX-License-Identifier: Apache-2.0
"""Declare the code that is saved with a checkpoint, so that it loads where this project is not installed."""

from typing import Any

from transformers import PreTrainedConfig


def _classifier(configuration: str, model: str) -> dict[str, str]:
    return {
        "AutoConfig": f"classifier_configuration_mser.{configuration}",
        "AutoModel": model,
        "AutoModelForAudioClassification": model,
        "AutoProcessor": "classifier_processing_mser.EmotionClassifierProcessor",
    }


AUTO_MAPS = {
    "mser": {
        "AutoConfig": "configuration_mser.MSERConfig",
        "AutoModel": "modeling_mser.MSERForEmotionGeneration",
        "AutoModelForCausalLM": "modeling_mser.MSERForEmotionGeneration",
        "AutoModelForAudioClassification": "audio_classification_mser.MSERForAudioClassification",
        "AutoProcessor": "processing_mser.MSERProcessor",
    },
    "whisper_classifier": _classifier(
        "WhisperClassifierConfig", "whisper_classification_mser.WhisperForEmotionClassification"
    ),
    "wav2vec2_classifier": _classifier(
        "Wav2Vec2ClassifierConfig", "wav2vec2_classification_mser.Wav2Vec2ForEmotionClassification"
    ),
}
"""By model type: the file and class of each auto class, in the flat folder."""


def declare_remote_code(config: PreTrainedConfig) -> None:
    """
    Set `auto_map` and `custom_pipelines` of a configuration.

    `pipeline(model=…)` infers its task only if `custom_pipelines` has exactly one entry.
    """
    # These imports have the files saved with the model's. Importing the pipeline takes a second, so not at the top.
    from .audio_classification_mser import MSERForAudioClassification  # noqa: F401
    from .pipeline_mser import MSERPipeline  # noqa: F401

    config.auto_map = dict(AUTO_MAPS[config.model_type])
    config.custom_pipelines = {
        "audio-classification": {
            "impl": "pipeline_mser.MSERPipeline",
            "pt": ["AutoModel"],
            "type": "audio",
        }
    }


def save_for_hub(model: Any, processor: Any, directory: str, include_backbones: bool | None = None) -> None:
    """
    Save a folder that loads without this project: weights in safetensors, processor, and all code, flat.

    Args:
        model, processor: an `MSERForEmotionGeneration` or a classifier, and its processor.
        directory: created if needed.
        include_backbones: as in `save_pretrained`.
    """
    model.save_pretrained(directory, include_backbones=include_backbones)
    processor.save_pretrained(directory)
