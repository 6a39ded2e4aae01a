# SPDX-License-Identifier: Apache-2.0
"""`WhisperForEmotionClassification`: Whisper's encoder on a few seconds, mean over time, two layers."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import WhisperConfig

from .backbones_mser import load_audio_backbone
from .classification_mser import EmotionClassifier, masked_mean, two_layer_head
from .classifier_configuration_mser import WhisperClassifierConfig
from .outputs_mser import AudioFeatures
from .whisper_encoder_mser import MaskedWhisperEncoder


class WhisperForEmotionClassification(EmotionClassifier):
    """
    Model of Gong et al. 2025, "Learning More with Less", Sec. 3.2: a Whisper encoder with cropped positions, its
    convolutions and positions frozen, the mean over time, two fully connected layers with dropout.

    The mean over time is the `emotion_embedding`. The encoder masks padding; the paper does not say whether its own
    attends to padding, as stock Whisper does. With `trained_layers` the layers below are frozen too, and their output
    can be cached for all of training.
    """

    config: WhisperClassifierConfig
    config_class = WhisperClassifierConfig

    def __init__(self, config: WhisperClassifierConfig, skip_init: Sequence[str] = ()):
        super().__init__(config, skip_init)
        self.classifier = two_layer_head(config)
        self.post_init()
        self.freeze()

    @staticmethod
    def load_audio(  # type: ignore[override]
        path_or_id: str, config: WhisperConfig, **kwargs: Any
    ) -> MaskedWhisperEncoder:
        """Load the encoder of a published Whisper and crop its positions to those of `config`."""
        uncropped = copy.deepcopy(config)
        uncropped.max_source_positions = 1500  # 30 s
        encoder = load_audio_backbone(path_or_id, uncropped, **kwargs)
        count = config.max_source_positions
        kept = encoder.embed_positions.weight[:count].detach().clone()
        encoder.embed_positions = nn.Embedding.from_pretrained(kept, freeze=True)
        encoder.max_source_positions = encoder.config.max_source_positions = count
        return encoder

    def _trained(self) -> list[nn.Module]:
        (frozen,) = self.config.used_encoder_layers
        layers = list(self.audio_tower.layers[frozen:])
        return [*layers, self.audio_tower.layer_norm] if layers else []

    def frozen_encoder(self) -> tuple[Any, dict[str, torch.Tensor]] | None:
        (frozen,) = self.config.used_encoder_layers
        if frozen == 0:  # spectrograms are smaller than the output of the convolutions
            return None
        trained = [f"layers.{index}." for index in range(frozen, self.config.audio_depth)]
        excluded = (*trained, "layer_norm.") if trained else ()
        weights = self.audio_tower.state_dict()
        return f"output of {frozen}", {name: weights[name] for name in weights if not name.startswith(excluded)}

    def encode_audio(
        self, input_features: torch.Tensor, input_features_mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        layers = self.config.used_encoder_layers
        with torch.no_grad():
            states = self.audio_tower(input_features, input_features_mask, output_layers=layers).last_hidden_state
        return states[:, None], self.audio_tower.output_mask(input_features_mask)

    def _embed(self, encoder_states: torch.Tensor, encoder_mask: torch.Tensor | None) -> AudioFeatures:
        (frozen,) = self.config.used_encoder_layers
        states = encoder_states[:, 0].to(self.audio_tower.conv1.weight.dtype)
        states = self.audio_tower.resume(states, encoder_mask, after_layer=frozen).last_hidden_state
        pooled = masked_mean(states, encoder_mask)
        return AudioFeatures(last_hidden_state=states, pooler_output=pooled, emotion_embedding=pooled)
