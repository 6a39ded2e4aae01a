# SPDX-License-Identifier: Apache-2.0
"""Shadow weights (EMA or average): used for evaluation and saving in place of the trained weights."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn


AVERAGE_FILE = "weight_average.safetensors"
_COUNT = "count"


class ShadowWeights:
    """
    A second set of weights for some parameters of a model.

    A checkpoint contains the trained weights, from which training resumes, and the shadow weights in their own file.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], file: str):
        self.parameters, self.file = dict(parameters), file
        self.weights = {name: value.detach().clone() for name, value in self.parameters.items()}

    @torch.no_grad()
    def apply(self) -> None:
        """Replace the trained weights."""
        for name, parameter in self.parameters.items():
            parameter.copy_(self.weights[name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Replace the trained weights for the duration of the block."""
        trained = ShadowWeights(self.parameters, self.file)
        self.apply()
        try:
            yield
        finally:
            trained.apply()

    def save(self, directory: str | Path) -> None:
        save_file({name: value.contiguous() for name, value in self.weights.items()}, Path(directory) / self.file)

    def load(self, directory: str | Path) -> None:
        tensors = load_file(Path(directory) / self.file)
        for name, value in self.weights.items():
            value.copy_(tensors[name])


class WeightAverage(ShadowWeights):
    """
    Running mean of all trained weights, with one sample per optimizer step.

    A dense average along the path finds flat minima, which generalize better to unseen domains than the checkpoint
    that a noisy validation split prefers (Izmailov et al. 2018, arXiv:1803.05407; Cha et al. 2021, arXiv:2102.08604).

    Args:
        model: the parameters that require a gradient are averaged.
    """

    def __init__(self, model: nn.Module):
        trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
        super().__init__(trained, AVERAGE_FILE)
        # The count is stored with the weights, so that it is saved and loaded with them.
        self.weights[_COUNT] = torch.tensor(0)

    @torch.no_grad()
    def update(self) -> None:
        self.weights[_COUNT] += 1
        for name, parameter in self.parameters.items():
            self.weights[name].lerp_(parameter, 1 / self.weights[_COUNT].item())

    def apply(self) -> None:
        """Replace the weights by the mean, if it has a sample."""
        if self.weights[_COUNT]:
            super().apply()
