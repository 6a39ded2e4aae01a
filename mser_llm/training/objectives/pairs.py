# SPDX-License-Identifier: Apache-2.0
"""The pairs of a batch: which there are, how alike their embeddings are, and sums over some of them."""

import torch

from mser_llm.training.objectives.objective import UNKNOWN


def cosines(embeddings: torch.Tensor) -> torch.Tensor:
    """`(batch_size, batch_size)` of embeddings `(batch_size, hidden_size)`."""
    normalized = torch.nn.functional.normalize(embeddings, dim=-1)
    return normalized @ normalized.T


def pairs_of(labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """
    The ordered pairs of two different clips whose labels are both known.

    Args:
        labels: `(batch_size,)`, `UNKNOWN` where there is none.

    Returns:
        Two masks `(batch_size, batch_size)`: pairs of one label, and pairs of two.
    """
    known = labels != UNKNOWN
    compared = known[:, None] & known[None, :] & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    same = labels[:, None] == labels[None, :]
    return compared & same, compared & ~same


def log_sum_exp(values: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """
    `log sum exp` over the chosen values of each row; over all of them in a row where none is, to stay finite.

    Args:
        values, chosen: `(batch_size, batch_size)`.
    """
    summed = chosen | ~chosen.any(-1, keepdim=True)
    return values.masked_fill(~summed, -torch.inf).logsumexp(-1)
