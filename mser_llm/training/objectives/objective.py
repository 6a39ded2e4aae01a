# SPDX-License-Identifier: Apache-2.0
"""What every objective is given and how it is called."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import nn

from mser_llm.training.distributed import gather_with_gradient


UNKNOWN = -1


@dataclass(frozen=True)
class ObjectiveBatch:
    """
    What is known of the clips of a batch, beside their embeddings.

    Attributes:
        emotions, languages, speakers: int64 `(batch_size,)`, `UNKNOWN` (-1) where a clip has none.
    """

    emotions: torch.Tensor
    languages: torch.Tensor
    speakers: torch.Tensor

    def gathered(self) -> "ObjectiveBatch":
        """Of all processes, in the order of their ranks."""
        labels = gather_with_gradient(torch.stack([self.emotions, self.languages, self.speakers], dim=1))
        return ObjectiveBatch(*labels.unbind(1))


class Objective(nn.Module, ABC):
    """
    A term of the loss that is made of emotion embeddings.

    It sees the joined batch of all processes, so that two processes give the gradient of one on both their batches,
    and is computed in single precision at least, whatever the model runs in: a similarity over a temperature is more
    than half precision carries. Parameters of its own are trained along, saved for a resume, and no part of the model.

    Attributes:
        needs: labels (fields of `ObjectiveBatch`) of which the training data must hold two different ones.
        progress: the part of training that is done, 0 to 1; set before each call.
        share: the part of the loss that the objective takes from the model's own at this moment, which keeps the rest;
            `None` where it is added.
        figures: of the last call, by the name that they are logged under.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    progress: float = 0.0
    figures: Mapping[str, torch.Tensor] = MappingProxyType({})

    @property
    def share(self) -> float | None:
        return None

    def forward(self, embeddings: torch.Tensor, batch: ObjectiveBatch) -> torch.Tensor:
        """
        Args:
            embeddings: `(batch_size, hidden_size)` of this process.
            batch: of this process.

        Returns:
            A scalar, the same on every process; zero, with a gradient of zeros, where the batch says nothing.
        """
        precision = torch.promote_types(embeddings.dtype, torch.float32)
        with torch.autocast(embeddings.device.type, enabled=False):
            return self.loss(gather_with_gradient(embeddings.to(precision)), batch.gathered())

    @abstractmethod
    def loss(self, embeddings: torch.Tensor, batch: ObjectiveBatch) -> torch.Tensor:
        """The term over the joined batch, `(joined_batch_size, hidden_size)` in single precision or more."""
