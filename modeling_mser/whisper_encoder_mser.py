# SPDX-License-Identifier: Apache-2.0
"""Whisper's encoder for clips of any length, with the same weights and key names, and the mix of encoder layers."""

from typing import Any

import torch
from torch import nn
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.whisper.modeling_whisper import WhisperEncoder


class MaskedWhisperEncoder(WhisperEncoder):
    """
    `WhisperEncoder` with a mask, so that a clip's output depends neither on padding nor on its batch.

    The stock encoder requires 3000 frames and attends to the padding. Here frames past a clip's length are zeroed
    before each convolution (else the bias of padded frames would leak into the last real one) and masked in
    self-attention. With an all-true mask over 3000 frames the result is bit-equal to `WhisperEncoder`.
    """

    def forward(
        self,
        input_features: torch.Tensor,
        input_features_mask: torch.Tensor | None = None,
        output_layers: tuple[int, ...] | None = None,
    ) -> BaseModelOutput:
        """
        Args:
            input_features: log-mel spectrograms `(batch_size, num_mel_bins, num_frames)`, 100 frames/s, at
                most `2 * max_source_positions` frames.
            input_features_mask: `(batch_size, num_frames)`, true on real frames; each row true from the left.
                `None` means all true.
            output_layers: layers to return; computation stops at the deepest. `None` means the last.

        Returns:
            `hidden_states`: one `(batch_size, ceil(num_frames / 2), d_model)` for each of `output_layers`;
            `last_hidden_state`: the last of them. Frames past a clip's length are undefined.

        Raises:
            ValueError: there are too many frames.
        """
        limit = 2 * self.max_source_positions
        if input_features.shape[-1] > limit:
            raise ValueError(
                f"input_features has {input_features.shape[-1]} frames, this encoder takes at most {limit} "
                f"({limit / 100:g} s); split longer audio into windows"
            )
        features = input_features.to(self.conv1.weight.dtype)
        if input_features_mask is not None:
            features = features * input_features_mask[:, None].to(features)
        hidden_states = nn.functional.gelu(self.conv1(features))
        if input_features_mask is not None:
            hidden_states = hidden_states * input_features_mask[:, None].to(features)
        hidden_states = nn.functional.gelu(self.conv2(hidden_states)).transpose(1, 2)
        hidden_states = hidden_states + self.embed_positions.weight[: hidden_states.shape[1]]
        hidden_states = nn.functional.dropout(hidden_states, p=self.dropout, training=self.training)

        return self.resume(hidden_states, self.output_mask(input_features_mask), 0, output_layers)

    def resume(
        self,
        hidden_states: torch.Tensor,
        frame_mask: torch.Tensor | None = None,
        after_layer: int = 0,
        output_layers: tuple[int, ...] | None = None,
    ) -> BaseModelOutput:
        """
        Run the layers after an intermediate one.

        Args:
            hidden_states, frame_mask: output of `after_layer` (0 for the convolutions), and its mask.
            output_layers: as in `forward`, none before `after_layer`.
        """
        depth = len(self.layers)
        output_layers = (depth,) if output_layers is None else output_layers
        attention_mask = create_bidirectional_mask(self.config, hidden_states, frame_mask)
        collected = {after_layer: hidden_states}
        for index, layer in enumerate(self.layers[after_layer : max(output_layers)], start=after_layer + 1):
            skipped = self.training and self.layerdrop > 0.0 and torch.rand([]) < self.layerdrop
            if not skipped:
                hidden_states = layer(hidden_states, attention_mask)
            if index in output_layers:
                collected[index] = self.layer_norm(hidden_states) if index == depth else hidden_states
        outputs = tuple(collected[index] for index in output_layers)
        return BaseModelOutput(last_hidden_state=outputs[-1], hidden_states=outputs)

    @staticmethod
    def output_mask(input_features_mask: torch.Tensor | None) -> Any:
        """Convert a mask of input frames, if any, to one of output frames `(batch_size, ceil(num_frames / 2))`."""
        return None if input_features_mask is None else input_features_mask[:, ::2].bool()


def mix_layers(encoder_states: torch.Tensor, layer_weights: torch.Tensor) -> torch.Tensor:
    """Average `(batch_size, num_layers, num_frames, hidden_size)` over layers by the softmax of learned weights."""
    weights = layer_weights.softmax(0)
    states = encoder_states.to(weights.dtype)
    # As a matrix product the sum reads each layer once. One per clip, because a single one would copy all layers.
    mixed = torch.bmm(weights.expand(len(states), 1, -1), states.flatten(2))
    return mixed.view(len(states), *states.shape[2:])
