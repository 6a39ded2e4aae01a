# SPDX-License-Identifier: Apache-2.0
"""What the model returns."""

from dataclasses import dataclass

import torch
from transformers.cache_utils import Cache
from transformers.utils import ModelOutput


@dataclass
class MSEROutput(ModelOutput):
    """
    Output of [`MSERForEmotionGeneration`].

    Attributes:
        loss: language-model loss over the labels, when these are given.
        logits: `(batch_size, num_kept_positions, vocab_size)`; with labels, the positions that predict one.
        past_key_values, hidden_states, attentions: the language model's.
        audio_hidden_states: what took the audio positions `(batch_size, num_query_tokens, text hidden_size)`.
        emotion_embedding: mean of the Q-Former's query outputs `(batch_size, qformer hidden_size)`, which every
            contrastive objective sees.
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
        last_hidden_state: query outputs `(batch_size, num_query_tokens, qformer hidden_size)`.
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
        loss: cross-entropy over the clips whose emotion is known, when labels are given.
        logits: `(batch_size, num_words)`.
        hidden_states: the frames that were pooled `(batch_size, num_output_frames, hidden_size)`.
        emotion_embedding: `(batch_size, size)`, which every objective sees.
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    hidden_states: torch.Tensor | None = None
    emotion_embedding: torch.Tensor | None = None


__all__ = ["AudioFeatures", "EmotionClassifierOutput", "MSEROutput"]
