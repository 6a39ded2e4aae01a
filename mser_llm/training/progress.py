# SPDX-License-Identifier: Apache-2.0
"""Show the progress of a training: one bar, and a line for each evaluation."""

from typing import Any

from transformers import ProgressCallback, TrainerControl, TrainerState, TrainingArguments


class TrainingProgress(ProgressCallback):
    """The stock bar with the current loss, and a readable line where the stock callback prints a dictionary."""

    def on_prediction_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Show no second bar, because validation takes seconds."""

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if not state.is_world_process_zero or self.training_bar is None or logs is None:
            return
        if "loss" in logs:
            terms = {name.removeprefix("loss_"): f"{logs[name]:.3f}" for name in logs if name.startswith("loss")}
            self.training_bar.set_postfix(terms, refresh=False)
        if "eval_UA" in logs:
            metrics = "  ".join(f"{name} {logs[f'eval_{name}']:.3f}" for name in ("UA", "WA", "WF1"))
            self.training_bar.write(f"epoch {logs['epoch']:5.2f}  validation  {metrics}  loss {logs['eval_loss']:.3f}")
