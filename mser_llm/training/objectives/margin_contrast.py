# SPDX-License-Identifier: Apache-2.0
"""Eq. (1) of arXiv:2503.21806: the margin-contrastive loss over all pairs of a batch."""

from typing import ClassVar

import torch

from mser_llm.training.number_bounds import COSINE
from mser_llm.training.objectives.objective import UNKNOWN, Objective, ObjectiveBatch
from mser_llm.training.objectives.pairs import cosines, pairs_of


class MarginContrast(Objective):
    """
    `w1 * y_ij * (1 - S_ij) + w2 * (1 - y_ij) * max(0, S_ij - m)` over the ordered pairs of a batch.

    S is the cosine of two emotion embeddings, y is 1 for clips of the same emotion. A pair of a clip with itself
    contributes zero.

    The batch is that of all processes. Gradient accumulation contrasts within micro-batches only: four of 8 clips
    have 4 x 64 pairs, one batch of 32 clips has 1024. Rescaling cannot replace the missing pairs. Prefer more
    processes or a larger batch to accumulation.

    Args:
        positive_weight: w1.
        negative_weight: w2.
        margin: m; negative pairs less similar than this cost nothing.
        reduction: `"mean"` over the b x b ordered pairs, independent of the batch size, or `"sum"`, the paper's form.
    """

    bounds: ClassVar = {"margin": COSINE}
    choices: ClassVar = {"reduction": ("mean", "sum")}

    def __init__(
        self,
        positive_weight: float = 1.0,
        negative_weight: float = 1.0,
        margin: float = 0.0,
        reduction: str = "mean",
    ):
        super().__init__()
        self.positive_weight, self.negative_weight = positive_weight, negative_weight
        self.margin, self.reduction = margin, reduction

    def loss(self, embeddings: torch.Tensor, batch: ObjectiveBatch) -> torch.Tensor:
        same, different = pairs_of(batch.emotions)
        similarity = cosines(embeddings)
        positive = self.positive_weight * (1 - similarity)
        negative = self.negative_weight * (similarity - self.margin).clamp(min=0)
        total = (positive * same + negative * different).sum()
        return total if self.reduction == "sum" else total / (batch.emotions != UNKNOWN).sum().clamp(min=1) ** 2
