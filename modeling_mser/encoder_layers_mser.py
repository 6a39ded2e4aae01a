# SPDX-License-Identifier: Apache-2.0
"""Which of an encoder's layers a model uses, and their learned mixture."""

import torch


def used_layers(encoder_layers: str | list[int], depth: int) -> tuple[int, ...]:
    """The layers that `"last"`, `"weighted"` or a list stand for, sorted.

    Raises:
        ValueError: an impossible choice.
    """
    if encoder_layers == "last":
        return (depth,)
    if encoder_layers == "weighted":
        return tuple(range(depth + 1))
    if isinstance(encoder_layers, str) or not encoder_layers or len(set(encoder_layers)) != len(encoder_layers):
        raise ValueError(f'encoder_layers is {encoder_layers!r}; give "last", "weighted" or a list of distinct layers')
    if min(encoder_layers) < 0 or max(encoder_layers) > depth:
        raise ValueError(f"encoder_layers is {encoder_layers}, but this encoder has layers 0 to {depth}")
    return tuple(sorted(encoder_layers))


def weighted_layers(encoder_states: torch.Tensor, layer_weights: torch.Tensor) -> torch.Tensor:
    """
    The mean over layers by a softmax of learned weights `(batch_size, num_frames, hidden_size)`.

    Args:
        encoder_states: `(batch_size, num_layers, num_frames, hidden_size)`.
        layer_weights: `(num_layers,)`.
    """
    weights = layer_weights.softmax(0)
    states = encoder_states.to(weights.dtype)
    # As a matrix product the sum reads each layer once. One a clip, for a single one would first copy the whole stack.
    mixed = torch.bmm(weights.expand(len(states), 1, -1), states.flatten(2))
    return mixed.view(len(states), *states.shape[2:])


__all__ = ["used_layers", "weighted_layers"]
