# SPDX-License-Identifier: Apache-2.0
"""The mean of the weights over the later part of training, for speech unlike that of the training."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn


FILE = "weight_average.safetensors"
_COUNT = "count"


class WeightAverage:
    """
    The running mean of all trained weights, one sample a step.

    Averaging densely along the path finds flat minima, which carry over to domains never trained on better than the
    point that a noisy validation split happens to like (Izmailov et al. 2018, arXiv:1803.05407; Cha et al. 2021,
    arXiv:2102.08604).

    Args:
        model: whose parameters that require a gradient are averaged.
    """

    def __init__(self, model: nn.Module):
        self.parameters = {name: value for name, value in model.named_parameters() if value.requires_grad}
        self.mean = {name: torch.zeros_like(value) for name, value in self.parameters.items()}
        self.count = 0

    @torch.no_grad()
    def update(self) -> None:
        """Takes the weights of this moment into the mean."""
        self.count += 1
        for name, parameter in self.parameters.items():
            self.mean[name].lerp_(parameter, 1 / self.count)

    @torch.no_grad()
    def apply(self) -> None:
        """Puts the mean in the place of the weights; without a sample it leaves them."""
        if self.count:
            for name, parameter in self.parameters.items():
                parameter.copy_(self.mean[name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The mean in the place of the weights for the duration of the block."""
        kept = {name: parameter.detach().clone() for name, parameter in self.parameters.items()}
        self.apply()
        try:
            yield
        finally:
            with torch.no_grad():
                for name, parameter in self.parameters.items():
                    parameter.copy_(kept[name])

    def save(self, directory: str | Path) -> None:
        tensors = {name: value.contiguous() for name, value in self.mean.items()}
        save_file(tensors | {_COUNT: torch.tensor(self.count)}, Path(directory) / FILE)

    def load(self, directory: str | Path) -> None:
        tensors = load_file(Path(directory) / FILE)
        self.count = int(tensors.pop(_COUNT))
        for name, value in tensors.items():
            self.mean[name].copy_(value)
