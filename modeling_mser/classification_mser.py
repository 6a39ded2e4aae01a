# SPDX-License-Identifier: Apache-2.0
"""Base of the two classifiers: an encoder, a head over one label set, and MSER's interface."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils import can_return_tuple

from .checkpoint_mser import BackboneCheckpointMixin
from .classifier_configuration_mser import EmotionClassifierConfig
from .compat_mser import build_from_config
from .outputs_mser import EmotionClassifierOutput, classifier_output
from .whisper_encoder_mser import MaskedWhisperEncoder


class EmotionClassifier(BackboneCheckpointMixin):
    """
    Emotion classifier with MSER's interface, limited to the labels that it was trained on. Subclasses build the head.

    Trainer, objectives, feature cache, recognition and pipeline use its `encode_audio`, `get_audio_features`,
    `score_emotions`, and its output with `loss`, `logits` and `emotion_embedding`, as they use MSER's.

    Args:
        config: configuration of the model.
        skip_init: `("audio",)` if the encoder is not built, because `load_backbones` sets it later.
    """

    config: EmotionClassifierConfig
    base_model_prefix = "model"
    main_input_name = "input_features"
    input_modalities = ("audio",)
    _supports_sdpa = True
    _supports_attention_backend = True
    _no_split_modules = None
    # The small trained part stays in full precision when the encoder is in half precision.
    _keep_in_fp32_modules_strict = ["classifier"]  # noqa: RUF012 - transformers reads it from the class
    accepts_loss_kwargs = False  # the loss is a mean over this batch, which the Trainer must not rescale
    language_model = None

    def __init__(self, config: EmotionClassifierConfig, skip_init: Sequence[str] = ()):
        super().__init__(config)
        self.register_module("audio_tower", None)  # the first part, whenever it is set
        if "audio" not in skip_init:
            self.audio_tower = self._encoder(config.audio_config)

    @staticmethod
    def _encoder(audio_config: PreTrainedConfig) -> PreTrainedModel:
        """Build the encoder with random weights."""
        return build_from_config(MaskedWhisperEncoder, audio_config)

    def _trained(self) -> list[nn.Module]:
        """Return the parts of the encoder that are trained."""
        return []

    def freeze(self, audio: bool | None = None, qformer: bool | None = None, text: bool | None = None) -> None:
        """Freeze the encoder except its trained parts, whatever the arguments."""
        if self.audio_tower is not None:
            self.audio_tower.requires_grad_(False)
            for module in self._trained():
                module.requires_grad_(True)
        self.train(self.training)

    def train(self, mode: bool = True) -> "EmotionClassifier":
        """Set training mode for the trained parts. Frozen parts stay in evaluation mode, without dropout."""
        super().train(mode)
        if self.audio_tower is not None:
            self.audio_tower.eval()
            for module in self._trained():
                module.train(mode)
        return self

    @can_return_tuple
    def forward(
        self,
        input_features: torch.Tensor | None = None,
        input_features_mask: torch.Tensor | None = None,
        encoder_states: torch.Tensor | None = None,
        encoder_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
    ) -> EmotionClassifierOutput:
        """
        Args:
            input_features, input_features_mask, encoder_states, encoder_mask: as in `get_audio_features`.
            labels: `(batch_size,)`, classes; -100 for a clip of unknown emotion. The loss of a batch with only
                unknown emotions is zero.
        """
        audio = self.get_audio_features(input_features, input_features_mask, encoder_states, encoder_mask)
        logits = self.classifier(audio.emotion_embedding.to(self.classifier[1].bias.dtype))
        return classifier_output(audio, logits, labels)

    @torch.no_grad()
    def score_emotions(
        self,
        candidate_ids: Sequence[Sequence[int]],
        input_features: torch.Tensor | None = None,
        input_features_mask: torch.Tensor | None = None,
        encoder_states: torch.Tensor | None = None,
        encoder_mask: torch.Tensor | None = None,
        length_normalize: bool = False,
        prior_correction: bool = False,
    ) -> torch.Tensor:
        """
        Compute the log-probability of each candidate label for each clip, as in `MSERForEmotionGeneration`.

        Args:
            candidate_ids: the class of each label, as a list of one (`EmotionClassifierProcessor.candidate_ids`).
            length_normalize: no effect, because a class has no length.
            prior_correction: subtract the scores for one second of silence.
        """
        classes = torch.tensor([index for (index,) in candidate_ids], device=self.device)
        logits = self(input_features, input_features_mask, encoder_states, encoder_mask).logits
        scores = logits.float().log_softmax(-1)
        if prior_correction:
            scores = scores - self(self._silence()).logits.float().log_softmax(-1)
        return scores[:, classes]

    def generate(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Raise `ValueError`, because a classifier has no language model."""
        raise ValueError('a classifier generates no text; use decode "score" (in the pipeline mode "score")')

    def _silence(self) -> torch.Tensor:
        """Return features of one second of silence, for Whisper (log10(1e-10) + 4) / 4 everywhere."""
        encoder = self.config.audio_config
        if encoder.model_type == "whisper":
            frames = min(100, 2 * encoder.max_source_positions)  # a second, or its maximum
            return torch.full((1, encoder.num_mel_bins, frames), -1.5, device=self.device)
        return torch.zeros(1, 16000, device=self.device)


def two_layer_head(config: EmotionClassifierConfig) -> nn.Sequential:
    """Build two fully connected layers with dropout, from emotion embeddings to the classes."""
    return nn.Sequential(
        nn.Dropout(config.head_dropout),
        nn.Linear(config.emotion_embedding_size, config.head_size),
        nn.ReLU(),
        nn.Dropout(config.head_dropout),
        nn.Linear(config.head_size, len(config.learned_words or ())),
    )


def masked_mean(states: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Average states `(batch_size, num_frames, hidden_size)` over the frames of a mask, in float32."""
    states = states.float()
    if mask is None:
        return states.mean(1)
    kept = mask[..., None].to(states.dtype)
    # Frames past the end are undefined. `masked_fill`, because zero times infinity is not zero.
    return states.masked_fill(kept == 0, 0.0).sum(1) / kept.sum(1)


EmotionClassifier.register_for_auto_class("AutoModelForAudioClassification")  # saves the code with every checkpoint
