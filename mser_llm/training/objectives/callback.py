# SPDX-License-Identifier: Apache-2.0
"""Connect objectives to a `Trainer`: call their hooks, train and save their parameters."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from mser_llm.training.objectives.objective import Objective


FILE = "objectives.safetensors"


class ObjectiveCallback(TrainerCallback):
    """
    Call the hooks of objectives and handle their parameters.

    The `Trainer` only reduces, clips, clears and saves the parameters of its model. Those of the objectives are
    clipped separately, so that the gradient of the model is clipped as it would be without them.
    """

    def __init__(self, objectives: Mapping[str, Objective], accelerator: Accelerator, max_grad_norm: float):
        self.objectives = nn.ModuleDict(objectives)
        self.accelerator, self.max_grad_norm = accelerator, max_grad_norm

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Return the trained parameters of all objectives, in a fixed order."""
        return [parameter for parameter in self.objectives.parameters() if parameter.requires_grad]

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.is_world_process_zero:
            for objective in self.objectives.values():
                objective.on_train_begin(state.max_steps)

    def on_pre_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        # The gradients of the processes differ by rounding only; their mean keeps the parameters equal.
        for parameter in self.parameters:
            if parameter.grad is not None:
                parameter.grad = self.accelerator.reduce(parameter.grad, reduction="mean")
        if self.max_grad_norm > 0:
            nn.utils.clip_grad_norm_(self.parameters, self.max_grad_norm)

    def on_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        self.objectives.zero_grad()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        for objective in self.objectives.values():
            objective.on_step_end((state.global_step - 1) / max(state.max_steps, 1))

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            for objective in self.objectives.values():
                objective.on_log(state.log_history)

    def reports(self, state: TrainerState) -> dict[str, Any]:
        """Return the entries of objectives for `train_results.json`, by objective."""
        reports = {name: objective.report(state.log_history) for name, objective in self.objectives.items()}
        return {name: report for name, report in reports.items() if report is not None}

    def save(self, directory: str | Path) -> None:
        """Save the state of the objectives into a checkpoint; without any, write nothing."""
        if tensors := {name: value.contiguous() for name, value in self.objectives.state_dict().items()}:
            save_file(tensors, Path(directory) / FILE)

    def load(self, directory: str | Path) -> None:
        """Load what `save` wrote."""
        if self.objectives.state_dict():
            self.objectives.load_state_dict(load_file(Path(directory) / FILE))
