# SPDX-License-Identifier: Apache-2.0
"""The network: configuration, masked Whisper encoder, Emotion Q-Former, word scoring."""

from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from .backbones_mser import BackboneError
from .configuration_mser import MSERConfig
from .modeling_mser import MSERForEmotionGeneration
from .outputs_mser import AudioFeatures, MSEROutput
from .qformer_mser import EmotionQFormer
from .remote_code_mser import save_for_hub
from .whisper_encoder_mser import MaskedWhisperEncoder


AutoConfig.register(MSERConfig.model_type, MSERConfig, exist_ok=True)
AutoModel.register(MSERConfig, MSERForEmotionGeneration, exist_ok=True)
AutoModelForCausalLM.register(MSERConfig, MSERForEmotionGeneration, exist_ok=True)

__all__ = [
    "AudioFeatures",
    "BackboneError",
    "EmotionQFormer",
    "MSERConfig",
    "MSERForEmotionGeneration",
    "MSEROutput",
    "MaskedWhisperEncoder",
    "save_for_hub",
]
