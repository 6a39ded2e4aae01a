# SPDX-License-Identifier: Apache-2.0
"""Supervised contrast over emotions, in which a pair that crosses languages can count for more."""

import torch

from mser_llm.training.objectives.objective import Objective, ObjectiveBatch
from mser_llm.training.objectives.pairs import cosines, log_sum_exp, pairs_of
from mser_llm.training.objectives.projection import projection_head


class SupervisedContrast(Objective):
    """
    Khosla et al. 2020 (arXiv:2004.11362), Eq. (2), `L_out`: the mean, over the clips `i` with another of their emotion
    in the batch, of

        -1 / sum_p w_ip * sum_p w_ip * log( exp(S_ip / t) / sum_{a != i} exp(S_ia / t) )

    with p over the other clips of i's emotion and S the cosine. There `w_ip` is 1. Here it is `cross_language_weight`
    where the two clips are known to be in different languages, so that emotions are drawn together across languages
    before they are within: arXiv:2606.06200 weights by language too, in a form that we have not seen, so this form is
    ours. A weighted mean, it is Khosla's loss wherever the batch is in one language.

    A clip without an emotion is left out.

    Args:
        embedding_size: of the emotion embeddings.
        temperature: t.
        cross_language_weight: of a positive pair across languages, against 1 of one within.
        projection_size: of the space that the contrast is computed in; 0 for that of the embeddings themselves.
    """

    needs = ("emotions",)

    def __init__(
        self,
        embedding_size: int,
        temperature: float = 0.1,
        cross_language_weight: float = 1.0,
        projection_size: int = 128,
    ):
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature is {temperature}; give a number above 0")
        if cross_language_weight < 0:
            raise ValueError(f"cross_language_weight is {cross_language_weight}; give 1 (no preference) or more")
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
