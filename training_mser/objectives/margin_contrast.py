# SPDX-License-Identifier: Apache-2.0
"""Eq. (1) of arXiv:2503.21806: the margin-contrastive loss over all pairs of a batch."""

from dataclasses import dataclass

import torch

from ..gather import gather_with_gradient


@dataclass(frozen=True)
class MarginContrast:
    """
    `w1 * y_ij * (1 - S_ij) + w2 * (1 - y_ij) * max(0, S_ij - m)` over the ordered pairs of a batch, S the cosine of
    two emotion embeddings and y whether they share an emotion. A pair of a clip with itself contributes zero.

    The batch is that of all processes. Under gradient accumulation it is the micro-batch: a contrast over four
    micro-batches of eight sees 4 x 64 pairs, not the 1024 of one batch of 32, and no rescaling makes up for the
    missing ones. Prefer more processes or a larger batch to accumulation.

    Args:
        positive_weight: w1.
        negative_weight: w2.
        margin: m; negative pairs less similar than this cost nothing.
        reduction: `"mean"` over the b x b ordered pairs, so that the loss does not depend on the batch size, or
            `"sum"`, the paper's form.
    """

    positive_weight: float = 1.0
    negative_weight: float = 1.0
    margin: float = 0.0
    reduction: str = "mean"

    def __post_init__(self) -> None:
        if self.reduction not in ("mean", "sum"):
            raise ValueError(f'reduction is {self.reduction!r}; give "mean" or "sum"')
        if not -1.0 <= self.margin <= 1.0:
            raise ValueError(f"margin is {self.margin}; a cosine lies between -1 and 1")

    def __call__(self, embeddings: torch.Tensor, emotions: torch.Tensor) -> torch.Tensor:
        """
        Args:
            embeddings: `(local_batch_size, hidden_size)`.
            emotions: `(local_batch_size,)`, integer labels.

        Returns:
            A scalar, the same on every process.
        """
        embeddings = gather_with_gradient(embeddings.float())
        emotions = gather_with_gradient(emotions)
        normalized = torch.nn.functional.normalize(embeddings, dim=-1)
        similarity = normalized @ normalized.T
        same = emotions[:, None] == emotions[None, :]
        itself = torch.eye(len(emotions), dtype=torch.bool, device=emotions.device)
        positive = self.positive_weight * (1 - similarity)
        negative = self.negative_weight * (similarity - self.margin).clamp(min=0)
        pairs = torch.where(same, positive, negative).masked_fill(itself, 0.0)
        return pairs.sum() if self.reduction == "sum" else pairs.mean()
