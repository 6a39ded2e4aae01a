# SPDX-License-Identifier: Apache-2.0
"""Building blocks of contrastive objectives: pairs of a batch, their similarities, and the projection head."""

import torch
from torch import nn

from mser_llm.training.objectives.objective import UNKNOWN


def cosines(embeddings: torch.Tensor) -> torch.Tensor:
    """Return the cosine similarities `(batch_size, batch_size)` of embeddings `(batch_size, hidden_size)`."""
    normalized = torch.nn.functional.normalize(embeddings, dim=-1)
    return normalized @ normalized.T


def pairs_of(labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Find the ordered pairs of two different clips with known labels `(batch_size,)`.

    Returns two masks `(batch_size, batch_size)`: pairs with the same label, and pairs with different labels.
    """
    known = labels != UNKNOWN
    compared = known[:, None] & known[None, :] & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    same = labels[:, None] == labels[None, :]
    return compared & same, compared & ~same


def log_sum_exp(values: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Compute `log sum exp` over the chosen values of each row; a row without any uses all, to stay finite."""
    summed = chosen | ~chosen.any(-1, keepdim=True)
    return values.masked_fill(~summed, -torch.inf).logsumexp(-1)


def projection_head(embedding_size: int, projection_size: int) -> nn.Module:
    """
    Build a projection head: two layers with a ReLU (Chen et al. 2020, arXiv:2002.05709, Sec. 4.2).

    The contrast is computed on its output, so that the embedding may keep what the contrast discards. The head is not
    used after training. A projection size of 0 returns the embeddings unchanged.
    """
    if projection_size == 0:
        return nn.Identity()
    return nn.Sequential(
        nn.Linear(embedding_size, embedding_size), nn.ReLU(), nn.Linear(embedding_size, projection_size)
    )
