# SPDX-License-Identifier: Apache-2.0
"""Base class of all objectives: the loss itself and the hooks that a training calls."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, TypeVar

import torch
from torch import nn

from mser_llm.io.errors import InputError
from mser_llm.training.data.batch_features import Masking
from mser_llm.training.distributed import gather_with_gradient
from mser_llm.training.number_bounds import Bounds
from mser_llm.training.shadow_weights import ShadowWeights


UNKNOWN = -1
Batch = TypeVar("Batch", bound="ObjectiveBatch")


class ObjectiveError(InputError):
    """An objective does not exist, does not fit the training data, or conflicts with another setting."""


@dataclass(frozen=True)
class ObjectiveBatch:
    """
    Labels of the clips in a batch, and the progress of the training.

    Attributes:
        emotions, languages, speakers: int64 `(batch_size,)`, `UNKNOWN` (-1) for a missing label.
        progress: completed part of the training, 0 to 1.
    """

    emotions: torch.Tensor
    languages: torch.Tensor
    speakers: torch.Tensor
    progress: float = field(default=0.0, kw_only=True)

    def gathered(self: Batch) -> Batch:
        """Gather the labels of all processes, in the order of their ranks."""
        labels = gather_with_gradient(torch.stack([self.emotions, self.languages, self.speakers], dim=1))
        emotions, languages, speakers = labels.unbind(1)
        return replace(self, emotions=emotions, languages=languages, speakers=speakers)


class Objective(nn.Module, ABC):
    """
    A term of the loss that is computed from emotion embeddings.

    A subclass implements `loss`. All other methods are hooks with a default that does nothing.

    The loss is computed over the joined batch of all processes, so that two processes get the gradient of one process
    on both batches. It is computed in float32 or higher, because half precision is too coarse for a similarity divided
    by a temperature. Parameters of the objective are trained and saved with each checkpoint. They are not part of the
    model.

    Attributes:
        needs: labels (fields of `ObjectiveBatch`) of which the training data must have at least two different values.
        bounds, choices: ranges of numeric options and values of others, by name; checked in a recipe.
        classifiers_only: whether a language model cannot be trained with this objective.
        augments: whether `prepare_batch` replaces the SpecAugment masks of the trainer.
        replaces_weights: whether `shadow_weights` are the final model; excludes weight averaging.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    bounds: ClassVar[Mapping[str, Bounds]] = {}
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    classifiers_only: ClassVar[bool] = False
    augments: ClassVar[bool] = False
    replaces_weights: ClassVar[bool] = False

    @abstractmethod
    def loss(
        self, embeddings: torch.Tensor, batch: ObjectiveBatch
    ) -> torch.Tensor | tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """
        Compute the loss over the joined batch.

        Args:
            embeddings: `(joined_batch_size, hidden_size)` in float32 or higher.
            batch: labels of the joined batch.

        Returns:
            A scalar, the same on every process; zero with zero gradients if the batch has no usable pairs. With it, if
            any, metrics of this step to be logged, by name.
        """

    def compute(self, embeddings: torch.Tensor, batch: ObjectiveBatch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Gather the embeddings and labels of all processes; return `loss` and metrics to be logged."""
        precision = torch.promote_types(embeddings.dtype, torch.float32)
        with torch.autocast(embeddings.device.type, enabled=False):
            loss = self.loss(gather_with_gradient(embeddings.to(precision)), batch.gathered())
        return loss if isinstance(loss, tuple) else (loss, {})

    def forward(self, embeddings: torch.Tensor, batch: ObjectiveBatch) -> torch.Tensor:
        """Return the loss of `compute`."""
        return self.compute(embeddings, batch)[0]

    # Hooks

    @classmethod
    def rows_per_clip(cls, options: Mapping[str, Any]) -> int:
        """Return the maximum number of rows that `prepare_batch` returns per clip, given the recipe's options."""
        return 1

    @property
    def shadow_weights(self) -> ShadowWeights | None:
        """Return the weights that replace the trained ones for evaluation and saving, if any."""
        return None

    def attach(self, model: nn.Module, masking: Masking) -> None:
        """Prepare for a training of an unwrapped model; raise an `ObjectiveError` if it cannot be trained."""

    def share(self, progress: float) -> float | None:
        """Return the share of the loss that this objective takes from the model's own loss; `None` adds to it."""
        return None

    def prepare_batch(
        self, inputs: dict[str, torch.Tensor], batch: ObjectiveBatch
    ) -> tuple[dict[str, torch.Tensor], ObjectiveBatch]:
        """Return the inputs of the model and the labels to train on, given those of a batch of clips."""
        return inputs, batch

    def on_train_begin(self, max_steps: int) -> None:
        """Run on the first process before the first step."""

    def on_step_end(self, progress: float) -> None:
        """Run after each optimizer step; `progress` is the part of the training completed before it."""

    def on_log(self, log_history: Sequence[Mapping[str, Any]]) -> None:
        """Run on the first process after each log entry."""

    def report(self, log_history: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
        """Return an entry for `train_results.json`."""
        return None
