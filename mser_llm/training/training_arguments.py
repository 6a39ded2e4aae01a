# SPDX-License-Identifier: Apache-2.0
"""`MSERTrainingArguments`: transformers' `TrainingArguments` with the options of this project."""

import os
from dataclasses import dataclass
from typing import Any

import torch
from transformers import TrainingArguments

from mser_llm.training.arguments import TRAINING_BOUNDS, MSERTrainingOptions
from mser_llm.training.number_bounds import check_numbers
from mser_llm.training.objectives import ObjectiveError, check_objectives


# What an evaluation during training gives.
FIGURES = ("UA", "WA", "WF1", "macro_F1", "loss")
_PICKLED_OPTIMIZERS = ("galore", "adamw_torch_4bit", "adamw_torch_8bit")


@dataclass
class MSERTrainingArguments(MSERTrainingOptions, TrainingArguments):
    """`TrainingArguments` with `MSERTrainingOptions`, validated together."""

    def __post_init__(self) -> None:
        # Without this, processes on a machine without an accelerator would each train alone, into one folder.
        if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not torch.accelerator.is_available():
            self.use_cpu = True
        check_numbers(self, TRAINING_BOUNDS)
        if self.max_steps != -1 and self.max_steps < 1:
            raise ValueError(f"max_steps is {self.max_steps}; pass at least 1, or leave it out to train by epochs")
        super().__post_init__()
        if str(getattr(self.optim, "value", self.optim)).startswith(_PICKLED_OPTIMIZERS):
            raise ValueError(
                f"optim is {self.optim.value}, whose state only pickle could save; choose another, such as "
                "adamw_torch or adamw_bnb_8bit"
            )
        if self.label_smoothing_factor:
            raise ValueError("label_smoothing_factor has no effect on the losses of this project; leave it out")
        if self.metric_for_best_model and self.metric_for_best_model.removeprefix("eval_") not in FIGURES:
            raise ValueError(
                f"metric_for_best_model is {self.metric_for_best_model}; choose from {', '.join(FIGURES)}"
            )
        check_objectives(self.objective_section)
        if self.average_from is not None:
            if "byol" in self.objective_section:
                raise ObjectiveError(
                    "average_from and the objective byol are both given, and byol's target is an average of weights "
                    "already, which is the model; leave out one"
                )
            # The mean over the steps takes the place of the one step that the validation split likes best.
            self.load_best_model_at_end = False
        # Pinned memory serves copies to an accelerator; without one the data loader only warns of it, once an epoch.
        if not torch.accelerator.is_available():
            self.dataloader_pin_memory = False

    @property
    def objective_section(self) -> dict[str, dict[str, Any] | None]:
        """
        Every objective of the run by name, with its options: those of `objectives`, or the contrast of Eq. (1) alone.
        What `contrast_*` says is said of `margin_contrast`.

        Raises:
            ObjectiveError: one thing is said in two ways, or of an objective that is not there.
        """
        said = {
            name.removeprefix("contrast_"): getattr(self, name)
            for name in self.__dataclass_fields__
            if name.startswith("contrast_")
        }
        changed = {
            option: value
            for option, value in said.items()
            if value != self.__dataclass_fields__[f"contrast_{option}"].default
        }
        section = {"margin_contrast": {}} if self.objectives is None else dict(self.objectives)
        margin = section["margin_contrast"] or {} if "margin_contrast" in section else None
        for option, value in changed.items():
            if margin is None and (option, value) != ("weight", 0):
                raise ObjectiveError(f"contrast_{option} is set, but objectives does not name margin_contrast; add it")
            if margin is not None and margin.get(option, value) != value:
                raise ObjectiveError(
                    f"contrast_{option} is {value} and objectives says {option} {margin[option]} of margin_contrast; "
                    "say it once"
                )
        if margin is not None:
            section["margin_contrast"] = said | margin
        for name in self.without:
            if name not in section:
                there = ", ".join(section) or "none"
                raise ObjectiveError(f"without: {name!r} is not among the objectives of this run ({there})")
            del section[name]
        return section
