# SPDX-License-Identifier: Apache-2.0
"""Clips of one speaker drawn together: NT-Xent with speakers in the place of classes."""

import torch

from mser_llm.training.objectives.objective import Objective, ObjectiveBatch
from mser_llm.training.objectives.pairs import cosines, log_sum_exp, pairs_of
from mser_llm.training.objectives.projection import projection_head


class SpeakerContrast(Objective):
    """
    Eq. (1) of Gong et al. 2025, "Learning More with Less": the mean, over the ordered pairs (i, j) of two clips of one
    speaker, of

        -log( exp(S_ij / t) / sum_k exp(S_ik / t) ),    S the cosine, k over the clips of other speakers than i's.

    The positive pair itself is not in that sum, so the loss has no lower bound at zero. The standard form of NT-Xent
    (Chen et al. 2020, arXiv:2002.05709, Eq. (1)) sums over all clips other than i.

    A clip without a speaker is left out, and so is a pair whose sum would be empty.

    Args:
        embedding_size: of the emotion embeddings.
        temperature: t.
        denominator: `"negatives"`, the published form, or `"all"`, the standard one.
        projection_size: of the space that the contrast is computed in; 0, as published, for that of the embeddings.
    """

    needs = ("speakers",)

    def __init__(
        self,
        embedding_size: int,
        temperature: float = 0.1,
        denominator: str = "negatives",
        projection_size: int = 0,
    ):
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature is {temperature}; give a number above 0")
        if denominator not in ("negatives", "all"):
            raise ValueError(f'denominator is {denominator!r}; give "negatives" or "all"')
        self.temperature, self.denominator = temperature, denominator
        self.projection = projection_head(embedding_size, projection_size)

    def loss(self, embeddings: torch.Tensor, batch: ObjectiveBatch) -> torch.Tensor:
        same, different = pairs_of(batch.speakers)
        logits = cosines(self.projection(embeddings)) / self.temperature
        summed = different if self.denominator == "negatives" else same | different
        terms = log_sum_exp(logits, summed)[:, None] - logits
        counted = same & summed.any(-1, keepdim=True)
        return (terms * counted).sum() / counted.sum().clamp(min=1)
