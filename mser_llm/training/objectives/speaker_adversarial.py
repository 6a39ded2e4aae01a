# SPDX-License-Identifier: Apache-2.0
"""A speaker classifier that the embeddings learn to defeat."""

import math
from typing import Any

import torch
from torch import nn

from mser_llm.training.objectives.objective import UNKNOWN, Objective, ObjectiveBatch


class SpeakerAdversarial(Objective):
    """
    The cross-entropy of a speaker classifier behind a gradient-reversal layer (Ganin et al. 2016, arXiv:1505.07818):
    the classifier learns to name the speaker from the embedding, and the embedding, which gets the gradient times
    `-lambda`, to hide who it is. As there (Sec. 5.2.2), lambda rises over training from 0 to near 1,

        lambda = 2 / (1 + exp(-gamma * progress)) - 1,

    so that the embedding does not flee from a classifier that knows nothing yet. The weight of this objective
    multiplies both, which for the classifier under Adam changes nothing.

    A clip without a speaker is left out. Where every speaker has one language, hiding the speaker hides the language.

    Args:
        embedding_size: of the emotion embeddings.
        num_speakers: of the training data.
        hidden_size: of the classifier's layer between; 0 for a linear classifier.
        gamma: how steeply lambda rises; at 10 it is 0.46 after a tenth of training and 0.99 after half.
    """

    needs = ("speakers",)

    def __init__(self, embedding_size: int, num_speakers: int, hidden_size: int = 256, gamma: float = 10.0):
        super().__init__()
        if hidden_size < 0:
            raise ValueError(f"hidden_size is {hidden_size}; give 0 for a linear classifier, or its layer's size")
        if gamma <= 0:
            raise ValueError(f"gamma is {gamma}; give a number above 0")
        self.gamma = gamma
        self.classifier: nn.Module
        if hidden_size == 0:
            self.classifier = nn.Linear(embedding_size, num_speakers)
        else:
            self.classifier = nn.Sequential(
                nn.Linear(embedding_size, hidden_size), nn.ReLU(), nn.Linear(hidden_size, num_speakers)
            )

    @property
    def coefficient(self) -> float:
        """lambda at this moment."""
        return 2 / (1 + math.exp(-self.gamma * self.progress)) - 1

    def loss(self, embeddings: torch.Tensor, batch: ObjectiveBatch) -> torch.Tensor:
        logits = self.classifier(_Reversal.apply(embeddings, self.coefficient))
        total = nn.functional.cross_entropy(logits, batch.speakers, ignore_index=UNKNOWN, reduction="sum")
        return total / (batch.speakers != UNKNOWN).sum().clamp(min=1)


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor, coefficient: float) -> torch.Tensor:
        ctx.coefficient = coefficient
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return -ctx.coefficient * gradient, None
