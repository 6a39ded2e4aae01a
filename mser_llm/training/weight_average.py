# SPDX-License-Identifier: Apache-2.0
"""The mean of the weights over the later part of training, for speech unlike that of the training."""

import torch
from torch import nn

from mser_llm.training.shadow_weights import StandInWeights


FILE = "weight_average.safetensors"
_COUNT = "count"


class WeightAverage(StandInWeights):
    """
    The running mean of all trained weights, one sample a step.

    Averaging densely along the path finds flat minima, which carry over to domains never trained on better than the
    point that a noisy validation split happens to like (Izmailov et al. 2018, arXiv:1803.05407; Cha et al. 2021,
    arXiv:2102.08604).

    Args:
        model: whose parameters that require a gradient are averaged.
    """

    def __init__(self, model: nn.Module):
        trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
        super().__init__(trained, FILE)
        # Among the weights, so that it is saved and loaded with them.
        self.weights[_COUNT] = torch.tensor(0)

    @torch.no_grad()
    def update(self) -> None:
        """Takes the weights of this moment into the mean."""
        self.weights[_COUNT] += 1
        for name, parameter in self.parameters.items():
            self.weights[name].lerp_(parameter, 1 / self.weights[_COUNT].item())

    def apply(self) -> None:
        """Puts the mean in the place of the weights; without a sample it leaves them."""
        if self.weights[_COUNT]:
            super().apply()
