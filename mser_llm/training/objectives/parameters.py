# SPDX-License-Identifier: Apache-2.0
"""What objectives train of their own (projection heads, a speaker classifier), beside the model and not of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import TrainerCallback


FILE = "objectives.safetensors"


class ObjectiveParameters(TrainerCallback):
    """
    Care for parameters that the `Trainer`, which knows those of its model alone, would neither join across processes
    nor clip, clear after a step, or save.

    They are clipped by themselves, so that the model's own gradient is clipped as it would be without them.

    Args:
        objectives: by name, on the device of the training.
        accelerator: of the trainer.
        max_grad_norm: as in `TrainingArguments`; 0 clips nothing.
    """

    def __init__(self, objectives: Mapping[str, nn.Module], accelerator: Accelerator, max_grad_norm: float):
        self.objectives = nn.ModuleDict(objectives)
        self.accelerator, self.max_grad_norm = accelerator, max_grad_norm

    @property
    def parameters(self) -> list[nn.Parameter]:
        """All of them, in a fixed order; a target that follows them is none."""
        return [parameter for parameter in self.objectives.parameters() if parameter.requires_grad]

    def on_pre_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        # Every process computes the same loss on the joined batch, and so the same gradient but for its last digits;
        # their mean keeps the parameters from drifting apart.
        for parameter in self.parameters:
            if parameter.grad is not None:
                parameter.grad = self.accelerator.reduce(parameter.grad, reduction="mean")
        if self.max_grad_norm > 0:
            nn.utils.clip_grad_norm_(self.parameters, self.max_grad_norm)

    def on_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        self.objectives.zero_grad()

    def save(self, directory: str | Path) -> None:
        """Beside a checkpoint's optimiser state; nothing where there are none."""
        if tensors := {name: value.contiguous() for name, value in self.objectives.state_dict().items()}:
            save_file(tensors, Path(directory) / FILE)

    def load(self, directory: str | Path) -> None:
        if self.objectives.state_dict():
            self.objectives.load_state_dict(load_file(Path(directory) / FILE))
