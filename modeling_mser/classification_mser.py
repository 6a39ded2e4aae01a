# SPDX-License-Identifier: Apache-2.0
"""What the two classifiers share: an encoder below, a head over the words of one label set, MSER's interface."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.utils.generic import can_return_tuple

from .checkpoint_mser import BackboneCheckpointMixin
from .classifier_configuration_mser import EmotionClassifierConfig
from .outputs_mser import AudioFeatures, EmotionClassifierOutput
from .whisper_encoder_mser import MaskedWhisperEncoder


class EmotionClassifier(BackboneCheckpointMixin):
    """
    A model that hears as MSER does and answers with one of the words that it was trained on.

    It has `encode_audio`, `get_audio_features`, `score_emotions` and an output with `loss`, `logits` and
    `emotion_embedding`, so that the trainer, its objectives, the feature cache, recognition and the pipeline serve it
    as they serve MSER.

    Args:
        config: of the model.
        skip_init: `("audio",)` leaves the encoder out, to be put in later by `load_backbones`.
    """

    config: EmotionClassifierConfig
    base_model_prefix = "model"
    main_input_name = "input_features"
    input_modalities = ("audio",)
    _supports_sdpa = True
    _supports_attention_backend = True
    _no_split_modules = None
    # The small part that is trained stays in full precision beside a half-precision encoder.
    _keep_in_fp32_modules_strict = ["classifier"]  # noqa: RUF012 - the library reads it off the class
    accepts_loss_kwargs = False  # the loss is a mean over this batch, which the Trainer must not rescale
    _auto_class = "AutoModelForAudioClassification"  # wherever it is saved, its code goes along
    language_model = None

    def __init__(self, config: EmotionClassifierConfig, skip_init: Sequence[str] = ()):
        super().__init__(config)
        self.register_module("audio_tower", None)  # the first part, whenever it is put in
        if "audio" not in skip_init:
            self.audio_tower = self._encoder(config.audio_config)
        self.classifier = self._build_head()
        self.post_init()
        self.freeze()

    # What a kind of classifier brings

    @staticmethod
    def _encoder(audio_config: PreTrainedConfig) -> PreTrainedModel:
        """The encoder with random weights."""
        return MaskedWhisperEncoder._from_config(audio_config)

    def _build_head(self) -> nn.Module:
        """Makes the parts above the encoder, and returns the last of them, from emotion embeddings to logits."""
        raise NotImplementedError

    def freeze(self, audio: bool | None = None, qformer: bool | None = None, text: bool | None = None) -> None:
        """Freezes what the configuration says; the arguments are those of MSER and have no effect here."""
        raise NotImplementedError

    def frozen_encoder(self) -> tuple[Any, dict[str, torch.Tensor]] | None:
        """
        What decides the states that `encode_audio` gives, beside the clip: which they are, and the weights on the way.
        `None` where they are nothing to keep, all layers being trained.
        """
        raise NotImplementedError

    def encode_audio(
        self, input_features: torch.Tensor, input_features_mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """
        The frozen part of the encoder, outside autograd: what can be computed once for all of training.

        Args:
            input_features: log-mel spectrograms `(batch_size, num_mel_bins, num_frames)` or, for an encoder of
                waveforms, `(batch_size, num_samples)`.
            input_features_mask: over their last axis, true from the left.

        Returns:
            `(batch_size, num_layers, num_output_frames, hidden_size)`, the layers being
            `config.used_encoder_layers`, and its mask `(batch_size, num_output_frames)`.
        """
        raise NotImplementedError

    def _embed(self, encoder_states: torch.Tensor, encoder_mask: torch.Tensor | None) -> AudioFeatures:
        """From the states of `encode_audio` to the emotion embedding `(batch_size, size)` in float32."""
        raise NotImplementedError

    # What all have

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
        A model to be trained, over a pretrained encoder.

        Args:
            audio: path or Hub id of the encoder.
            emotion_words: the classes.
            audio_revision: Hub revision.
            dtype: of the encoder.
            config_kwargs: further fields of the configuration.
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
        The emotion embedding of each clip.

        Args:
            input_features, input_features_mask: as in `encode_audio`.
            encoder_states, encoder_mask: the result of `encode_audio`, in place of the features, when it is at hand.
        """
        if (input_features is None) == (encoder_states is None):
            raise ValueError("give either input_features or encoder_states")
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
            labels: `(batch_size,)`, classes; -100 for a clip whose emotion is not known. Over a batch without any the
                loss is zero.
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
        Log-probability of each candidate word for each clip.

        Args:
            candidate_ids: the class of each word, as a list of one (`EmotionClassifierProcessor.candidate_ids`).
            input_features, input_features_mask, encoder_states, encoder_mask: as in `forward`.
            length_normalize: without effect, a class having no length.
            prior_correction: subtract the scores for one second of silence.

        Returns:
            `(batch_size, num_words)` float32. Their softmax is a distribution over the candidates.
        """
        classes = torch.tensor([index for (index,) in candidate_ids], device=self.device)
        logits = self(input_features, input_features_mask, encoder_states, encoder_mask).logits
        scores = logits.float().log_softmax(-1)
        if prior_correction:
            scores = scores - self(self._silence()).logits.float().log_softmax(-1)
        return scores[:, classes]

    def generate(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Raises `ValueError`: there is no language model that could write."""
        raise ValueError('a classifier writes no text; use decode "score" (in the pipeline mode "score")')

    def _silence(self) -> torch.Tensor:
        """Features of one second of silence: of zeros, Whisper's spectrogram is (log10(1e-10) + 4) / 4 throughout."""
        encoder = self.config.audio_config
        if encoder.model_type == "whisper":
            frames = min(100, 2 * encoder.max_source_positions)  # of a second what it hears
            return torch.full((1, encoder.num_mel_bins, frames), -1.5, device=self.device)
        return torch.zeros(1, 16000, device=self.device)


def two_layer_head(size: int, config: EmotionClassifierConfig) -> nn.Sequential:
    """Two fully connected layers with dropout, from embeddings of a size to the classes."""
    return nn.Sequential(
        nn.Dropout(config.head_dropout),
        nn.Linear(size, config.head_size),
        nn.ReLU(),
        nn.Dropout(config.head_dropout),
        nn.Linear(config.head_size, len(config.learned_words or ())),
    )


def masked_mean(states: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """
    The mean over a clip's own frames, in float32.

    Args:
        states: `(batch_size, num_frames, hidden_size)`.
        mask: `(batch_size, num_frames)`; `None` stands for all true.

    Returns:
        `(batch_size, hidden_size)`.
    """
    states = states.float()
    if mask is None:
        return states.mean(1)
    kept = mask[..., None].to(states.dtype)
    # Frames past the end are undefined, and zero times infinity would not be zero.
    return states.masked_fill(kept == 0, 0.0).sum(1) / kept.sum(1)


__all__ = ["EmotionClassifier", "masked_mean", "two_layer_head"]
