# SPDX-License-Identifier: Apache-2.0
"""Outputs of the models."""

from dataclasses import dataclass

import torch
from transformers.cache_utils import Cache
from transformers.utils import ModelOutput


@dataclass
class MSEROutput(ModelOutput):
    """
    Output of [`MSERForEmotionGeneration`].

    Attributes:
        loss: language-model loss over the labels, if labels are given.
        logits: `(batch_size, num_kept_positions, vocab_size)`; with labels, the positions that predict one.
        past_key_values, hidden_states, attentions: those of the language model.
        audio_hidden_states: audio embeddings in the language model's input `(batch_size, num_query_tokens, text
            hidden_size)`.
        emotion_embedding: mean of the Q-Former outputs `(batch_size, qformer hidden_size)`, the input of every
            contrastive objective.
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    past_key_values: Cache | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None
    audio_hidden_states: torch.Tensor | None = None
    emotion_embedding: torch.Tensor | None = None


@dataclass
class AudioFeatures(ModelOutput):
    """
    Output of `get_audio_features`.

    Attributes:
        last_hidden_state: Q-Former outputs `(batch_size, num_query_tokens, qformer hidden_size)`.
        pooler_output: their projection `(batch_size, num_query_tokens, text hidden_size)`.
        emotion_embedding: their mean `(batch_size, qformer hidden_size)`.
    """

    last_hidden_state: torch.Tensor | None = None
    pooler_output: torch.Tensor | None = None
    emotion_embedding: torch.Tensor | None = None


@dataclass
class EmotionClassifierOutput(ModelOutput):
    """
    Output of the classifiers.

    Attributes:
        loss: cross-entropy over the clips whose emotion is known, if labels are given.
        logits: `(batch_size, num_labels)`.
        hidden_states: the frames before pooling `(batch_size, num_output_frames, hidden_size)`.
        emotion_embedding: `(batch_size, size)`, the input of every objective.
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    hidden_states: torch.Tensor | None = None
    emotion_embedding: torch.Tensor | None = None


def classifier_output(
    audio: AudioFeatures, logits: torch.Tensor, labels: torch.Tensor | None
) -> EmotionClassifierOutput:
    """Build the output, with the mean loss over the labels `(batch_size,)` that are not -100."""
    loss = None
    if labels is not None:
        total = torch.nn.functional.cross_entropy(logits.float(), labels, ignore_index=-100, reduction="sum")
        loss = total / (labels != -100).sum().clamp(min=1)
    states, embedding = audio.last_hidden_state, audio.emotion_embedding
    return EmotionClassifierOutput(loss=loss, logits=logits, hidden_states=states, emotion_embedding=embedding)
