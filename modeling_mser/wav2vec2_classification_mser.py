# SPDX-License-Identifier: Apache-2.0
"""`Wav2Vec2ForEmotionClassification`: a frozen self-supervised encoder, a learned mix of its layers, a head."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel
from transformers import initialization as init

from .backbones_mser import load_audio_backbone, load_speech_backbone
from .classification_mser import EmotionClassifier, masked_mean, two_layer_head
from .classifier_configuration_mser import Wav2Vec2ClassifierConfig
from .compat_mser import count_output_frames
from .outputs_mser import AudioFeatures
from .whisper_encoder_mser import mix_layers


class Wav2Vec2ForEmotionClassification(EmotionClassifier):
    """
    Classifier after Ma et al. 2026 (arXiv:2606.06200): wav2vec 2.0 as a fixed feature extractor, and an
    emotion-discriminative representation above it.

    Only a summary of the paper was available. The architecture above the encoder is ours: layers mixed by learned
    weights, pooled over time, one layer that all objectives share (the `emotion_embedding`), and a head of two layers.
    Projection head and speaker classifier belong to their objectives.

    The encoder is any of `AutoModel` that takes waveforms as wav2vec 2.0 does (XLS-R, HuBERT, WavLM, …), or Whisper's.
    """

    config: Wav2Vec2ClassifierConfig
    config_class = Wav2Vec2ClassifierConfig
    _keep_in_fp32_modules_strict = ["classifier", "shared", "layer_weights"]  # noqa: RUF012

    def __init__(self, config: Wav2Vec2ClassifierConfig, skip_init: Sequence[str] = ()):
        super().__init__(config, skip_init)
        self.layer_weights = nn.Parameter(torch.zeros(len(config.used_encoder_layers)))
        pooled = config.audio_config.hidden_size * (2 if config.pooling == "mean_std" else 1)
        self.shared = nn.Sequential(
            nn.Dropout(config.head_dropout), nn.Linear(pooled, config.embedding_size), nn.ReLU()
        )
        self.classifier = two_layer_head(config)
        self.post_init()
        self.freeze()

    @staticmethod
    def _encoder(audio_config: PreTrainedConfig) -> PreTrainedModel:
        if audio_config.model_type == "whisper":
            return EmotionClassifier._encoder(audio_config)
        return AutoModel.from_config(audio_config)

    @staticmethod
    def load_audio(  # type: ignore[override]
        path_or_id: str, config: PreTrainedConfig, **kwargs: Any
    ) -> PreTrainedModel:
        """Load the encoder by path or Hub id."""
        load = load_audio_backbone if config.model_type == "whisper" else load_speech_backbone
        return load(path_or_id, config, **kwargs)

    @property
    def encodes_clips_separately(self) -> bool:
        """
        Whether the encoder processes each clip of a batch separately.

        Group normalization, as in wav2vec 2.0's base models, includes the padding and ignores the mask.
        """
        return getattr(self.config.audio_config, "feat_extract_norm", "layer") == "group"

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if module is self:
            init.zeros_(self.layer_weights)

    def frozen_encoder(self) -> tuple[Any, dict[str, torch.Tensor]] | None:
        return self.config.encoder_layers, self.audio_tower.state_dict()

    @torch.no_grad()
    def encode_audio(
        self, input_features: torch.Tensor, input_features_mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        layers = self.config.used_encoder_layers
        if self.config.audio_config.model_type == "whisper":
            states = self.audio_tower(input_features, input_features_mask, output_layers=layers).hidden_states
            mask = self.audio_tower.output_mask(input_features_mask)
        else:
            states, mask = self._encode_waveforms(input_features, input_features_mask)
            states = [states[layer] for layer in layers]
        if self.config.encoder_layers != "last":
            states = [nn.functional.layer_norm(state, state.shape[-1:]) for state in states]
        return torch.stack(list(states), dim=1), mask

    def _encode_waveforms(
        self, waveforms: torch.Tensor, waveform_mask: torch.Tensor | None
    ) -> tuple[list[torch.Tensor], torch.Tensor | None]:
        """Compute all layers of an encoder of waveforms, and their mask `(batch_size, num_output_frames)`."""
        encoder = self.audio_tower
        waveforms = waveforms.to(encoder.dtype)
        if waveform_mask is None:
            return list(encoder(waveforms, output_hidden_states=True).hidden_states), None
        lengths = waveform_mask.sum(-1)
        if self.encodes_clips_separately:
            clips = [
                encoder(waveform[None, :length], output_hidden_states=True).hidden_states
                for waveform, length in zip(waveforms, lengths.tolist(), strict=True)
            ]
            states = [
                nn.utils.rnn.pad_sequence([clip[layer][0] for clip in clips], batch_first=True)
                for layer in range(len(clips[0]))
            ]
        else:
            output = encoder(waveforms, attention_mask=waveform_mask.long(), output_hidden_states=True)
            states = list(output.hidden_states)
        frames = count_output_frames(encoder, lengths)
        # As wide as the output, because the batch may be padded beyond its longest clip.
        return states, torch.arange(states[0].shape[1], device=waveforms.device) < frames[:, None]

    def _embed(self, encoder_states: torch.Tensor, encoder_mask: torch.Tensor | None) -> AudioFeatures:
        frames = mix_layers(encoder_states, self.layer_weights)
        pooled = masked_mean(frames, encoder_mask)
        if self.config.pooling == "mean_std":
            spread = masked_mean((frames - pooled[:, None]).square(), encoder_mask)
            # A clip of one frame has variance 0, where the root has no gradient.
            pooled = torch.cat([pooled, (spread + 1e-6).sqrt()], dim=-1)
        embedding = self.shared(pooled.to(self.shared[1].bias.dtype))
        return AudioFeatures(last_hidden_state=frames, pooler_output=pooled, emotion_embedding=embedding)
