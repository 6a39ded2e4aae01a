# SPDX-License-Identifier: Apache-2.0
"""Weights that are judged and saved in the place of those that are trained."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn


class StandInWeights:
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
