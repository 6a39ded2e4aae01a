# SPDX-License-Identifier: Apache-2.0
"""Stop a diverged run with an error, and report the training loss over all steps."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer
from transformers.trainer_utils import TrainOutput, get_last_checkpoint

from mser_llm.io.atomic_files import write_json
from mser_llm.io.errors import InputError


LOSS_FILE = "train_loss.json"


class TrainingDivergedError(ValueError):
    """A loss, a gradient or a weight is not finite; the message gives the step, the likely cause and what is kept."""


@dataclass
class LossSum:
    """
    The loss of all optimizer steps, saved with each checkpoint.

    With `save_only_model` it is not `saved`.
    """

    saved: bool = True
    total: float = 0.0
    steps: int = 0

    @property
    def mean(self) -> float:
        """Return the mean loss per step."""
        return self.total / max(self.steps, 1)

    def save(self, directory: str | Path) -> None:
        """Save into a checkpoint."""
        write_json(Path(directory) / LOSS_FILE, {"total": self.total, "steps": self.steps})

    def load(self, directory: str | Path) -> None:
        """Continue the sum of a checkpoint; raise an `InputError` if the file is missing or damaged."""
        if not self.saved:
            return
        file = Path(directory) / LOSS_FILE
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
            self.total, self.steps = float(found["total"]), int(found["steps"])
        except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
            fix = f"delete {directory} to resume from an earlier checkpoint, or start again with --no_resume"
            raise InputError(file, "missing or damaged", fix) from error


class FiniteTrainingMixin(Trainer):
    """
    A `Trainer` that stops before a non-finite gradient reaches the weights and before non-finite weights are saved.

    The stock trainer hides a non-finite loss from the logs (`logging_nan_inf_filter`), continues, and saves the broken
    weights. Here every checkpoint has finite weights, so the last one can be used. All processes stop at the same
    step.

    The loss is summed over the whole run and saved with each checkpoint. The stock `train_loss` of a resumed run
    averages only the steps after the resume.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._step_loss: torch.Tensor | float = 0.0
        self.loss_sum = LossSum(saved=not self.args.save_only_model)

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        loss = super().training_step(*args, **kwargs)
        self._step_loss = self._step_loss + loss.detach()
        return loss

    def _get_grad_norm(self, model: torch.nn.Module, grad_norm: Any = None) -> Any:
        """Check the loss and the gradient; `Trainer` calls this once per optimizer step, just before it."""
        norm = super()._get_grad_norm(model, grad_norm)
        loss = torch.as_tensor(self._step_loss, dtype=torch.float32, device=self.args.device)
        loss = self.accelerator.reduce(loss, reduction="mean").item()
        self._step_loss = 0.0
        if not math.isfinite(loss):
            self._stop(f"the loss is {loss}", self.state.global_step + 1)
        # Under fp16, the gradient scaler skips a step with a non-finite gradient and lowers the scale.
        if norm is not None and getattr(self.accelerator, "scaler", None) is None:
            value = float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)
            if not math.isfinite(value):
                self._stop(f"the gradient norm is {value}", self.state.global_step + 1)
        self.loss_sum.total += loss
        self.loss_sum.steps += 1
        return norm

    def _maybe_log_save_evaluate(self, *args: Any, **kwargs: Any) -> None:
        if self.control.should_save or self.control.should_evaluate:
            self.check_weights()
        super()._maybe_log_save_evaluate(*args, **kwargs)

    def trained_parameters(self) -> dict[str, torch.nn.Parameter]:
        """Return the parameters that must stay finite, by name."""
        return {name: value for name, value in self.model.named_parameters() if value.requires_grad}

    def check_weights(self) -> None:
        """Raise a `TrainingDivergedError` on all processes if a trained weight of one is not finite."""
        name = _non_finite(self.trained_parameters())
        flag = torch.tensor(float(name is not None), device=self.args.device)
        if self.accelerator.reduce(flag, reduction="sum").item():
            self._stop(f"the weight {name or '(of another process)'} is not finite", self.state.global_step)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Evaluate like the stock method; raise a `TrainingDivergedError` if the loss is not finite."""
        metrics = super().evaluate(*args, **kwargs)
        for name, value in metrics.items():
            if name.endswith("_loss") and not math.isfinite(value):
                self._stop(f"{name} is {value}", self.state.global_step)
        return metrics

    def _stop(self, found: str, step: int) -> None:
        folder = str(self.args.output_dir)
        checkpoint = get_last_checkpoint(folder) if Path(folder).is_dir() else None
        kept = f"the last checkpoint with finite weights is {checkpoint}" if checkpoint else "no checkpoint was saved"
        raise TrainingDivergedError(
            f"training diverged at step {step} of {self.state.max_steps}: {found}; {self._likely_cause()}, and pass "
            f"another --output_dir or --no_resume; {kept}"
        )

    def _likely_cause(self) -> str:
        args = self.args
        rate, decay = args.learning_rate, args.weight_decay
        weight = _non_finite(dict(self.model.named_parameters())) if self.state.global_step == 0 else None
        if weight is not None:
            return f"the weight {weight} was not finite before the first step: check init_from and the backbones"
        if rate * decay > 1:
            return f"weight_decay {decay:g} at learning_rate {rate:g} turns the weights over at each step: lower it"
        if args.fp16:
            return f"fp16 may overflow, or learning_rate {rate:g} is too high: try bf16, or lower it"
        clipped = "" if args.max_grad_norm > 0 else ", set max_grad_norm 1"
        warmed = "" if args.warmup_steps > 0 else ", set warmup_steps"
        return f"learning_rate {rate:g} is probably too high: lower it{clipped}{warmed}"

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "train_loss" in logs:
            logs["train_loss"] = self.loss_sum.mean
        super().log(logs, start_time)

    def _finalize_training(self, *args: Any, **kwargs: Any) -> TrainOutput:
        return super()._finalize_training(*args, **kwargs)._replace(training_loss=self.loss_sum.mean)


def _non_finite(parameters: dict[str, torch.nn.Parameter]) -> str | None:
    """Return the name of the first non-finite parameter; under FSDP, only this process's shards are checked."""
    values = [getattr(value, "to_local", lambda value=value: value)().detach() for value in parameters.values()]
    finite = [value.isfinite().all().to(values[0].device) for value in values]
    good = torch.stack(finite).tolist() if finite else []
    return next((name for name, one in zip(parameters, good, strict=True) if not one), None)
