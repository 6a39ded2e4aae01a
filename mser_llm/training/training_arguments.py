# SPDX-License-Identifier: Apache-2.0
"""`MSERTrainingArguments`: transformers' `TrainingArguments` with the options of this project."""

import os
from dataclasses import dataclass
from typing import Any

import torch
from transformers import TrainingArguments

from mser_llm.io.errors import InputError
from mser_llm.training.arguments import TRAINING_BOUNDS, MSERTrainingOptions
from mser_llm.training.number_bounds import check_numbers
from mser_llm.training.objectives import OBJECTIVES, ObjectiveError, check_objectives


METRICS = ("UA", "WA", "WF1", "macro_F1", "loss")
_PICKLED_OPTIMIZERS = ("galore", "adamw_torch_4bit", "adamw_torch_8bit")


@dataclass
class MSERTrainingArguments(MSERTrainingOptions, TrainingArguments):
    """`TrainingArguments` with `MSERTrainingOptions`, validated together."""

    def __post_init__(self) -> None:
        # Without an accelerator, each process would otherwise train alone and write to the same folder.
        if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not torch.accelerator.is_available():
            self.use_cpu = True
        check_numbers(vars(self), TRAINING_BOUNDS)
        if self.max_steps != -1 and self.max_steps < 1:
            raise InputError(
                "max_steps", f"{self.max_steps} is too small", "pass at least 1, or leave it out to train by epochs"
            )
        super().__post_init__()
        optimizer = str(getattr(self.optim, "value", self.optim))
        if optimizer.startswith(_PICKLED_OPTIMIZERS):
            raise InputError(
                "optim",
                f"the state of {optimizer} can only be pickled",
                "choose another, such as adamw_torch or adamw_bnb_8bit",
            )
        if self.label_smoothing_factor:
            raise InputError("label_smoothing_factor", "no loss of this project uses it", "leave it out")
        if self.metric_for_best_model and self.metric_for_best_model.removeprefix("eval_") not in METRICS:
            raise InputError(
                "metric_for_best_model", f"unknown metric {self.metric_for_best_model}", f"pass {', '.join(METRICS)}"
            )
        check_objectives(self.objective_section)
        if self.average_from is not None:
            for name in self.objective_section:
                if OBJECTIVES[name].replaces_weights:
                    raise ObjectiveError("average_from", f"{name} also replaces the trained weights", "leave out one")
            # The average replaces the best checkpoint as the final model.
            self.load_best_model_at_end = False
        # Pinned memory speeds up copies to an accelerator; without one, the data loader warns about it every epoch.
        if not torch.accelerator.is_available():
            self.dataloader_pin_memory = False

    @property
    def objective_section(self) -> dict[str, dict[str, Any] | None]:
        """
        Return the options of each objective of the run, by name.

        These are `objectives`, or by default the contrast of Eq. (1) alone. The `contrast_*` arguments are options of
        `margin_contrast`.

        Raises:
            ObjectiveError: an option has two different values, or its objective is not used.
        """
        fields = {name: field for name, field in self.__dataclass_fields__.items() if name.startswith("contrast_")}
        options = {name.removeprefix("contrast_"): getattr(self, name) for name in fields}
        changed = {name: value for name, value in options.items() if value != fields[f"contrast_{name}"].default}
        section = {"margin_contrast": {}} if self.objectives is None else dict(self.objectives)
        margin = section["margin_contrast"] or {} if "margin_contrast" in section else None
        for option, value in changed.items():
            if margin is None and (option, value) != ("weight", 0):
                raise ObjectiveError(
                    f"contrast_{option}", "objectives does not name margin_contrast", "add it, or leave this out"
                )
            if margin is not None and margin.get(option, value) != value:
                raise ObjectiveError(
                    f"contrast_{option}",
                    f"{value} differs from {option} {margin[option]} of margin_contrast in objectives",
                    "set one of them",
                )
        if margin is not None:
            section["margin_contrast"] = options | margin
        for name in self.without:
            if name not in section:
                raise ObjectiveError(
                    "without", f"unknown objective {name!r}", f"pass one of this run's: {', '.join(section) or 'none'}"
                )
            del section[name]
        return section
