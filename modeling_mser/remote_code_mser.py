# SPDX-License-Identifier: Apache-2.0
"""Declare the code that is saved with a checkpoint, so that it loads where this project is not installed."""

from typing import Any

from transformers import PreTrainedConfig


_MSER = "modeling_mser.MSERForEmotionGeneration"
_CONFIGURATIONS = "classifier_configuration_mser"
_CLASSIFIER_PROCESSOR = "classifier_processing_mser.EmotionClassifierProcessor"
_WHISPER = "whisper_classification_mser.WhisperForEmotionClassification"
_WAV2VEC2 = "wav2vec2_classification_mser.Wav2Vec2ForEmotionClassification"
AUTO_MAPS = {
    "mser": {
        "AutoConfig": "configuration_mser.MSERConfig",
        "AutoModel": _MSER,
        "AutoModelForCausalLM": _MSER,
        "AutoModelForAudioClassification": "audio_classification_mser.MSERForAudioClassification",
        "AutoProcessor": "processing_mser.MSERProcessor",
    },
    "whisper_classifier": {
        "AutoConfig": f"{_CONFIGURATIONS}.WhisperClassifierConfig",
        "AutoModel": _WHISPER,
        "AutoModelForAudioClassification": _WHISPER,
        "AutoProcessor": _CLASSIFIER_PROCESSOR,
    },
    "wav2vec2_classifier": {
        "AutoConfig": f"{_CONFIGURATIONS}.Wav2Vec2ClassifierConfig",
        "AutoModel": _WAV2VEC2,
        "AutoModelForAudioClassification": _WAV2VEC2,
        "AutoProcessor": _CLASSIFIER_PROCESSOR,
    },
}
"""By model type: the file and class of each auto class, in the flat folder."""
TASK = "audio-classification"


def declare_remote_code(config: PreTrainedConfig) -> None:
    """
    Set `auto_map` and `custom_pipelines` of a configuration.

    `pipeline(model=…)` infers its task only if `custom_pipelines` has exactly one entry.
    """
    # These imports have the files saved with the model's. Importing the pipeline takes a second, so not at the top.
    from .audio_classification_mser import MSERForAudioClassification  # noqa: F401
    from .pipeline_mser import MSERPipeline

    config.auto_map = dict(AUTO_MAPS[config.model_type])
    config.custom_pipelines = {
        TASK: {"impl": f"pipeline_mser.{MSERPipeline.__name__}", "pt": ["AutoModel"], "type": "audio"}
    }


def save_for_hub(model: Any, processor: Any, directory: str, include_backbones: bool | None = None) -> None:
    """
    Save a folder that loads without this project: weights in safetensors, processor, and all code, flat.

    Args:
        model: an `MSERForEmotionGeneration` or a classifier.
        processor: its processor.
        directory: created if needed.
        include_backbones: as in `save_pretrained`.
    """
    model.save_pretrained(directory, include_backbones=include_backbones)
    processor.save_pretrained(directory)
