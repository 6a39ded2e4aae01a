# SPDX-License-Identifier: Apache-2.0
"""Shadow weights: used for evaluation and saving in place of the trained weights."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn


class ShadowWeights:
    """
    Another set of weights for some parameters of a model, kept beside them while these are trained.

    A checkpoint holds the trained weights, from which training goes on, and this set in a file of its own.

    Args:
        parameters: the trained ones, by name.
        file: name of the file in a checkpoint.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], file: str):
        self.parameters, self.file = dict(parameters), file
        self.weights = {name: value.detach().clone() for name, value in self.parameters.items()}

    @torch.no_grad()
    def apply(self) -> None:
        """Puts this set in the place of the trained weights."""
        for name, parameter in self.parameters.items():
            parameter.copy_(self.weights[name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """This set in the place of the trained weights for the duration of the block."""
        kept = {name: parameter.detach().clone() for name, parameter in self.parameters.items()}
        self.apply()
        try:
            yield
        finally:
            with torch.no_grad():
                for name, parameter in self.parameters.items():
                    parameter.copy_(kept[name])

    def save(self, directory: str | Path) -> None:
        """Beside a checkpoint's optimiser state."""
        save_file({name: value.contiguous() for name, value in self.weights.items()}, Path(directory) / self.file)

    def load(self, directory: str | Path) -> None:
        """What `save` wrote."""
        tensors = load_file(Path(directory) / self.file)
        for name, value in self.weights.items():
            value.copy_(tensors[name])


FILE = "weight_average.safetensors"
_COUNT = "count"


class WeightAverage(ShadowWeights):
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
