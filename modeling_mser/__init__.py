# SPDX-License-Identifier: Apache-2.0
"""The network: configuration, masked Whisper encoder, Emotion Q-Former, word scoring; the two classifiers."""

from transformers import AutoConfig, AutoModel, AutoModelForAudioClassification, AutoModelForCausalLM

from .audio_classification_mser import MSERForAudioClassification
from .backbones_mser import BackboneError
from .classification_mser import EmotionClassifier
from .classifier_configuration_mser import Wav2Vec2ClassifierConfig, WhisperClassifierConfig
from .configuration_mser import MSERConfig
from .file_digests_mser import ModifiedFilesError
from .modeling_mser import MSERForEmotionGeneration
from .outputs_mser import AudioFeatures, EmotionClassifierOutput, MSEROutput
from .qformer_mser import EmotionQFormer
from .remote_code_mser import save_for_hub
from .wav2vec2_classification_mser import Wav2Vec2ForEmotionClassification
from .whisper_classification_mser import WhisperForEmotionClassification
from .whisper_encoder_mser import MaskedWhisperEncoder


AutoConfig.register(MSERConfig.model_type, MSERConfig, exist_ok=True)
AutoModel.register(MSERConfig, MSERForEmotionGeneration, exist_ok=True)
AutoModelForCausalLM.register(MSERConfig, MSERForEmotionGeneration, exist_ok=True)
AutoModelForAudioClassification.register(MSERConfig, MSERForAudioClassification, exist_ok=True)
for _model in (WhisperForEmotionClassification, Wav2Vec2ForEmotionClassification):
    AutoConfig.register(_model.config_class.model_type, _model.config_class, exist_ok=True)
    AutoModel.register(_model.config_class, _model, exist_ok=True)
    AutoModelForAudioClassification.register(_model.config_class, _model, exist_ok=True)

__all__ = [
    "AudioFeatures",
    "BackboneError",
    "EmotionClassifier",
    "EmotionClassifierOutput",
    "EmotionQFormer",
    "MSERConfig",
    "MSERForAudioClassification",
    "MSERForEmotionGeneration",
    "MSEROutput",
    "MaskedWhisperEncoder",
    "ModifiedFilesError",
    "Wav2Vec2ClassifierConfig",
    "Wav2Vec2ForEmotionClassification",
    "WhisperClassifierConfig",
    "WhisperForEmotionClassification",
    "save_for_hub",
]
