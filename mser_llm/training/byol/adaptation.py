# SPDX-License-Identifier: Apache-2.0
"""What BYOL asks of a training: views in the place of clips, a target that follows, an eye on collapse."""

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from mser_llm.training.byol.collapse import COLLAPSED, PATIENCE, collapse_record, steps_below
from mser_llm.training.byol.target import MomentumTarget
from mser_llm.training.byol.views import ViewStrength
from mser_llm.training.data.batch_features import BatchFeatures, Masking
from mser_llm.training.objectives import BYOL, UNKNOWN, ObjectiveBatch, ViewedBatch


IGNORED = -100
MEMORY = 0.1
"""The greatest part of training that a target may remember and still fit the head, which is the online network's."""


class BYOLAdaptation(TrainerCallback):
    """
    One stage of training by `byol` and by the model's own loss (Gong et al. 2025, "Learning More with Less",
    Sec. 2.3).

    A batch of clips becomes a batch of views, which goes through the model at once: two of each clip, strong and
    without labels, for the objective; of a clip whose emotion is known `supervised_views` more, weaker and with it,
    for the model's own loss.

    Args:
        network: the model, not wrapped.
        objective: of the training.
        masking: of the strong views.
    """

    def __init__(self, network: nn.Module, objective: BYOL, masking: Masking):
        self.objective = objective
        self.strong = ViewStrength(masking, objective.mixup, objective.least_crop, objective.greatest_crop)
        self.weak = self.strong.reduced(objective.supervised_strength)
        self.target = MomentumTarget(network, objective)
        self._warned = False

    def views(
        self, inputs: Mapping[str, torch.Tensor], batch: ObjectiveBatch
    ) -> tuple[dict[str, torch.Tensor], ViewedBatch]:
        """
        Args:
            inputs: of the model, with `labels`.
            batch: the labels for the objectives.

        Returns:
            Both for the views: first view of each clip, second view of each, then the weak ones of labelled clips.
        """
        clips = BatchFeatures.of(inputs)
        size, device = len(clips.values), clips.values.device
        labelled = (inputs["labels"] != IGNORED).nonzero()[:, 0]
        pair = [self.strong.view(clips) for _ in (0, 1)]
        targets = self.target.embeddings(joined(pair).inputs())
        count = self.objective.supervised_views if len(labelled) else 0
        weak = [self.weak.view(clips.rows(labelled)) for _ in range(count)]
        rows = torch.cat([torch.arange(size, device=device).repeat(2), labelled.repeat(count)])
        views = torch.full_like(rows, UNKNOWN)
        views[: 2 * size] = torch.arange(2, device=device).repeat_interleave(size)
        labels = inputs["labels"][rows].masked_fill(views != UNKNOWN, IGNORED)
        viewed = ViewedBatch(batch.emotions[rows], batch.languages[rows], batch.speakers[rows], views, targets)
        return joined([*pair, *weak]).inputs() | {"labels": labels}, viewed

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        momentum, steps = self.objective.momentum, max(state.max_steps, 1)
        followed = (1 - momentum) * steps * MEMORY
        if followed < 1 - 1e-6 and state.is_world_process_zero:
            warnings.warn(
                f"byol: with momentum {momentum:g} the target, which is the model, hardly moves in {steps} steps, and "
                "the head is trained on embeddings that it does not reach; give a momentum of at most "
                f"{max(0.0, 1 - 1 / (MEMORY * steps)):.2g}, or train for longer",
                stacklevel=2,
            )

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.target.update(self.objective.momentum_after((state.global_step - 1) / max(state.max_steps, 1)))

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        below = steps_below(state.log_history)
        if below >= PATIENCE and not self._warned and state.is_world_process_zero:
            self._warned = True
            warnings.warn(
                f"byol has collapsed: for {below} steps byol_std has been below {COLLAPSED} (1 would be projections "
                "in all directions), so all clips look alike to it and its loss says nothing; give a lower "
                "learning_rate, a momentum nearer to 1, or larger batches",
                stacklevel=2,
            )

    def record(self, state: TrainerState) -> dict[str, Any]:
        """For `train_results.json`."""
        return collapse_record(state.log_history)


def joined(views: list[BatchFeatures]) -> BatchFeatures:
    """One batch of several that are of one length."""
    values, masks = (torch.cat([getattr(view, name) for view in views]) for name in ("values", "mask"))
    return BatchFeatures(values, masks, views[0].encoded)
