# SPDX-License-Identifier: Apache-2.0
"""Base of the two classifiers: an encoder, a head over one label set, and MSER's interface."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.utils import can_return_tuple

from .checkpoint_mser import BackboneCheckpointMixin
from .classifier_configuration_mser import EmotionClassifierConfig
from .compat_mser import build_from_config
from .outputs_mser import AudioFeatures, EmotionClassifierOutput
from .whisper_encoder_mser import MaskedWhisperEncoder


class EmotionClassifier(BackboneCheckpointMixin):
    """
    Emotion classifier with MSER's interface, limited to the labels that it was trained on.

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
        self.classifier = self._build_head()
        self.post_init()
        self.freeze()

    # Defined by each classifier

    @staticmethod
    def _encoder(audio_config: PreTrainedConfig) -> PreTrainedModel:
        """Build the encoder with random weights."""
        return build_from_config(MaskedWhisperEncoder, audio_config)

    def _build_head(self) -> nn.Module:
        """Build the parts above the encoder; return the last, from emotion embeddings to logits."""
        raise NotImplementedError

    def frozen_encoder(self) -> tuple[Any, dict[str, torch.Tensor]] | None:
        """
        Return everything except the clip that the result of `encode_audio` depends on: the selection of layers, and
        the weights up to them. `None` if caching it is useless because all layers are trained.
        """
        raise NotImplementedError

    def encode_audio(
        self, input_features: torch.Tensor, input_features_mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """
        Run the frozen part of the encoder, outside autograd, whose output can be cached for all of training.

        Args:
            input_features: log-mel spectrograms `(batch_size, num_mel_bins, num_frames)` or, for an encoder of
                waveforms, `(batch_size, num_samples)`.
            input_features_mask: mask over their last axis, true from the left.

        Returns:
            States of `config.used_encoder_layers` `(batch_size, num_layers, num_output_frames, hidden_size)`, and
            their mask `(batch_size, num_output_frames)`.
        """
        raise NotImplementedError

    def _embed(self, encoder_states: torch.Tensor, encoder_mask: torch.Tensor | None) -> AudioFeatures:
        """Compute the emotion embedding `(batch_size, size)` from the states of `encode_audio`."""
        raise NotImplementedError

    # Shared by all classifiers

    @classmethod
    def from_backbone(
        cls,
        audio: str,
        emotion_words: Sequence[str],
        audio_revision: str | None = None,
        dtype: torch.dtype = torch.float32,
        **config_kwargs: Any,
    ) -> "EmotionClassifier":
        """
        Build a model for training from a pretrained encoder.

        Args:
            audio: path or Hub id of the encoder.
            emotion_words: the classes.
            audio_revision: Hub revision.
            dtype: dtype of the encoder.
            config_kwargs: other fields of the configuration.
        """
        config = cls.config_class(
            audio_config=AutoConfig.from_pretrained(audio, revision=audio_revision),
            audio_backbone=audio,
            audio_backbone_revision=audio_revision,
            emotion_words=list(emotion_words),
            **config_kwargs,
        )
        model = cls(config)
        model.load_backbones(("audio",), dtype=dtype)
        return model

    def get_audio_features(
        self,
        input_features: torch.Tensor | None = None,
        input_features_mask: torch.Tensor | None = None,
        encoder_states: torch.Tensor | None = None,
        encoder_mask: torch.Tensor | None = None,
    ) -> AudioFeatures:
        """
        Compute the emotion embedding of each clip.

        Args:
            input_features, input_features_mask: as in `encode_audio`.
            encoder_states, encoder_mask: result of `encode_audio`, instead of the features.
        """
        if (input_features is None) == (encoder_states is None):
            raise ValueError("pass either input_features or encoder_states")
        if encoder_states is None:
            encoder_states, encoder_mask = self.encode_audio(input_features, input_features_mask)
        return self._embed(encoder_states, encoder_mask)

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
        loss = None
        if labels is not None:
            known = (labels != -100).sum()
            total = nn.functional.cross_entropy(logits.float(), labels, ignore_index=-100, reduction="sum")
            loss = total / known.clamp(min=1)
        return EmotionClassifierOutput(
            loss=loss,
            logits=logits,
            hidden_states=audio.last_hidden_state,
            emotion_embedding=audio.emotion_embedding,
        )

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
        Compute the log-probability of each candidate label for each clip.

        Args:
            candidate_ids: the class of each label, as a list of one (`EmotionClassifierProcessor.candidate_ids`).
            input_features, input_features_mask, encoder_states, encoder_mask: as in `forward`.
            length_normalize: no effect, because a class has no length.
            prior_correction: subtract the scores for one second of silence.

        Returns:
            `(batch_size, num_labels)` float32. Their softmax is a distribution over the candidates.
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


def two_layer_head(size: int, config: EmotionClassifierConfig) -> nn.Sequential:
    """Build two fully connected layers with dropout, from embeddings of `size` to the classes."""
    return nn.Sequential(
        nn.Dropout(config.head_dropout),
        nn.Linear(size, config.head_size),
        nn.ReLU(),
        nn.Dropout(config.head_dropout),
        nn.Linear(config.head_size, len(config.learned_words or ())),
    )


def masked_mean(states: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """
    Average over a clip's own frames, in float32.

    Args:
        states: `(batch_size, num_frames, hidden_size)`.
        mask: `(batch_size, num_frames)`; `None` means all true.

    Returns:
        `(batch_size, hidden_size)`.
    """
    states = states.float()
    if mask is None:
        return states.mean(1)
    kept = mask[..., None].to(states.dtype)
    # Frames past the end are undefined. `masked_fill`, because zero times infinity is not zero.
    return states.masked_fill(kept == 0, 0.0).sum(1) / kept.sum(1)


EmotionClassifier.register_for_auto_class("AutoModelForAudioClassification")  # saves the code with every checkpoint

__all__ = ["EmotionClassifier", "masked_mean", "two_layer_head"]
