# SPDX-License-Identifier: Apache-2.0
"""Supervised contrast over emotions, with an optional weight for pairs across languages."""

from typing import ClassVar

import torch

from mser_llm.training.number_bounds import NOT_NEGATIVE, POSITIVE
from mser_llm.training.objectives.objective import Objective, ObjectiveBatch
from mser_llm.training.objectives.pairs import cosines, log_sum_exp, pairs_of, projection_head


class SupervisedContrast(Objective):
    """
    Khosla et al. 2020 (arXiv:2004.11362), Eq. (2), `L_out`: the mean, over the clips `i` with another of their emotion
    in the batch, of

        -1 / sum_p w_ip * sum_p w_ip * log( exp(S_ip / t) / sum_{a != i} exp(S_ia / t) )

    with p over the other clips of i's emotion and S the cosine. In the paper `w_ip` is 1. Here it is
    `cross_language_weight` for two clips of different known languages, so that emotions move together across
    languages first. arXiv:2606.06200 also weights by language, in a form that we have not seen; this form is ours. For
    a batch of one language the weighted mean is Khosla's loss.

    Clips without an emotion are left out.

    Args:
        embedding_size: size of the emotion embeddings.
        temperature: t.
        cross_language_weight: weight of a positive pair across languages; within a language it is 1.
        projection_size: size of the projections that are compared; 0 compares the embeddings.
    """

    needs = ("emotions",)
    bounds: ClassVar = {
        "temperature": POSITIVE,
        "cross_language_weight": NOT_NEGATIVE,
        "projection_size": NOT_NEGATIVE,
    }

    def __init__(
        self,
        embedding_size: int,
        temperature: float = 0.1,
        cross_language_weight: float = 1.0,
        projection_size: int = 128,
    ):
        super().__init__()
        self.temperature, self.cross_language_weight = temperature, cross_language_weight
        self.projection = projection_head(embedding_size, projection_size)

    def loss(self, embeddings: torch.Tensor, batch: ObjectiveBatch) -> torch.Tensor:
        same, different = pairs_of(batch.emotions)
        logits = cosines(self.projection(embeddings)) / self.temperature
        log_shares = logits - log_sum_exp(logits, same | different)[:, None]
        _, across = pairs_of(batch.languages)
        weights = same * torch.where(across, self.cross_language_weight, 1.0)
        counts = weights.sum(-1)
        anchors = counts > 0
        terms = -(weights * log_shares).sum(-1) / counts.masked_fill(~anchors, 1.0)
        return terms.sum() / anchors.sum().clamp(min=1)
