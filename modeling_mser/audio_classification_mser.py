# SPDX-License-Identifier: Apache-2.0
"""MSER with the interface of an audio classifier: logits over the labels of its last training stage."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers.utils import can_return_tuple

from .configuration_mser import MSERConfig
from .modeling_mser import MSERForEmotionGeneration
from .outputs_mser import EmotionClassifierOutput, classifier_output


class MSERForAudioClassification(MSERForEmotionGeneration):
    """
    `AutoModelForAudioClassification` of an MSER checkpoint.

    Weights and checkpoint are those of [`MSERForEmotionGeneration`]. `forward` scores the labels of `config.id2label`
    instead of predicting tokens, so that `logits.argmax(-1)` is a key of `id2label`:

        >>> model = AutoModelForAudioClassification.from_pretrained("…/mser", trust_remote_code=True)
        >>> logits = model(**processor(audio=["clip.wav"])).logits
        >>> model.config.id2label[int(logits[0].argmax())]
        "happy"

    Args:
        config: configuration with labels and their tokens (`MSERConfig.set_labels`).
        skip_init: as in `MSERForEmotionGeneration`.

    Raises:
        ValueError: the configuration has no labels, or its `id2label` has other labels than it has tokens for.
    """

    def __init__(self, config: MSERConfig, skip_init: Sequence[str] = ()):
        labels, token_ids = config.emotion_words, config.label_token_ids
        if not labels or token_ids is None:
            raise ValueError(
                "the configuration has no labels with tokens; call config.set_labels(labels, "
                "processor.candidate_ids(labels)), or use AutoModel and score_emotions"
            )
        if list(config.id2label.values()) != labels or len(token_ids) != len(labels):
            raise ValueError(
                f"the labels {', '.join(map(str, config.id2label.values()))} are not those of the model "
                f"({', '.join(labels)}); leave out num_labels and id2label, and set other labels with "
                "config.set_labels(labels, processor.candidate_ids(labels))"
            )
        super().__init__(config, skip_init)

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        input_features: torch.Tensor | None = None,
        input_features_mask: torch.Tensor | None = None,
        encoder_states: torch.Tensor | None = None,
        encoder_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> EmotionClassifierOutput:
        """
        Args:
            input_ids, attention_mask: `(batch_size, length)`, padded on the left and without an emotion, as the
                processor returns them.
            input_features, input_features_mask, encoder_states, encoder_mask: as in `get_audio_features`. A call
                without audio is a step of `generate`, with arguments and output of `MSERForEmotionGeneration`.
            labels: `(batch_size,)`, keys of `config.id2label`; -100 for a clip of unknown emotion.

        Returns:
            `loss`, the cross-entropy over the labels; `logits` `(batch_size, num_labels)`, the log-probability of each
            label's text in float32; `hidden_states`, the Q-Former outputs; `emotion_embedding`.

        Raises:
            ValueError: `labels` are token ids, as the processor returns them for training.
        """
        if input_features is None and encoder_states is None:
            return super().forward(input_ids, attention_mask, labels=labels, **kwargs)
        if labels is not None and labels.dim() != 1:
            raise ValueError(
                f"labels have the shape {tuple(labels.shape)}; pass one key of config.id2label per clip, and call "
                "the processor without an emotion"
            )
        audio = self.get_audio_features(input_features, input_features_mask, encoder_states, encoder_mask)
        candidate_ids = self.config.label_token_ids or ()
        logits, _ = self.score_queries(input_ids, attention_mask, audio.pooler_output, candidate_ids)
        return classifier_output(audio, logits, labels)


MSERForAudioClassification.register_for_auto_class("AutoModelForAudioClassification")
