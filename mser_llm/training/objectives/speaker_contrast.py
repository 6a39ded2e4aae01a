# SPDX-License-Identifier: Apache-2.0
"""NT-Xent over speakers: embeddings of one speaker move together."""

from typing import ClassVar

import torch

from mser_llm.training.number_bounds import NOT_NEGATIVE, POSITIVE
from mser_llm.training.objectives.objective import Objective, ObjectiveBatch
from mser_llm.training.objectives.pairs import cosines, log_sum_exp, pairs_of, projection_head


class SpeakerContrast(Objective):
    """
    Eq. (1) of Gong et al. 2025, "Learning More with Less": the mean, over the ordered pairs (i, j) of two clips of one
    speaker, of

        -log( exp(S_ij / t) / sum_k exp(S_ik / t) ),    S the cosine, k over the clips of other speakers than i's.

    The sum does not contain the positive pair, so the loss can be negative. The standard form of NT-Xent (Chen et al.
    2020, arXiv:2002.05709, Eq. (1)) sums over all clips other than i.

    Clips without a speaker and pairs with an empty sum are left out.

    Args:
        embedding_size: size of the emotion embeddings.
        temperature: t.
        denominator: `"negatives"`, the published form, or `"all"`, the standard form.
        projection_size: size of the projections that are compared; 0, as published, compares the embeddings.
    """

    needs = ("speakers",)
    bounds: ClassVar = {"temperature": POSITIVE, "projection_size": NOT_NEGATIVE}
    choices: ClassVar = {"denominator": ("negatives", "all")}

    def __init__(
        self,
        embedding_size: int,
        temperature: float = 0.1,
        denominator: str = "negatives",
        projection_size: int = 0,
    ):
        super().__init__()
        self.temperature, self.denominator = temperature, denominator
        self.projection = projection_head(embedding_size, projection_size)

    def loss(self, embeddings: torch.Tensor, batch: ObjectiveBatch) -> torch.Tensor:
        same, different = pairs_of(batch.speakers)
        logits = cosines(self.projection(embeddings)) / self.temperature
        summed = different if self.denominator == "negatives" else same | different
        terms = log_sum_exp(logits, summed)[:, None] - logits
        counted = same & summed.any(-1, keepdim=True)
        return (terms * counted).sum() / counted.sum().clamp(min=1)
