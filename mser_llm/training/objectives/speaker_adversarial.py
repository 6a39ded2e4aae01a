# SPDX-License-Identifier: Apache-2.0
"""A speaker classifier with gradient reversal: the embeddings learn to hide the speaker."""

import math
from typing import Any, ClassVar

import torch
from torch import nn

from mser_llm.training.number_bounds import NOT_NEGATIVE, POSITIVE
from mser_llm.training.objectives.objective import UNKNOWN, Objective, ObjectiveBatch


class SpeakerAdversarial(Objective):
    """
    Cross-entropy of a speaker classifier behind a gradient-reversal layer (Ganin et al. 2016, arXiv:1505.07818).

    The classifier learns to recognize the speaker from the embedding. The embedding gets the gradient times `-lambda`
    and learns to hide the speaker. As in Sec. 5.2.2 of the paper, lambda rises from 0 to nearly 1 over training,

        lambda = 2 / (1 + exp(-gamma * progress)) - 1,

    so that the embedding does not react to an untrained classifier. The weight of this objective multiplies both
    gradients; under Adam that does not change the classifier.

    Clips without a speaker are left out. If each speaker has one language, hiding the speaker hides the language.

    Args:
        embedding_size: size of the emotion embeddings.
        num_speakers: number of speakers in the training data.
        hidden_size: hidden size of the classifier; 0 for a linear classifier.
        gamma: how steeply lambda rises; at 10 it is 0.46 after a tenth of training and 0.99 after half.
    """

    needs = ("speakers",)
    bounds: ClassVar = {"hidden_size": NOT_NEGATIVE, "gamma": POSITIVE}

    def __init__(self, embedding_size: int, num_speakers: int, hidden_size: int = 256, gamma: float = 10.0):
        super().__init__()
        self.gamma = gamma
        self.classifier: nn.Module
        if hidden_size == 0:
            self.classifier = nn.Linear(embedding_size, num_speakers)
        else:
            self.classifier = nn.Sequential(
                nn.Linear(embedding_size, hidden_size), nn.ReLU(), nn.Linear(hidden_size, num_speakers)
            )

    def coefficient(self, progress: float) -> float:
        """Return lambda; `progress` is the completed part of the training, 0 to 1."""
        return 2 / (1 + math.exp(-self.gamma * progress)) - 1

    def loss(self, embeddings: torch.Tensor, batch: ObjectiveBatch) -> torch.Tensor:
        logits = self.classifier(_Reversal.apply(embeddings, self.coefficient(batch.progress)))
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
