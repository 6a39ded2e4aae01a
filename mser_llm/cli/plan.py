# SPDX-License-Identifier: Apache-2.0
"""`run-mser plan CONFIG.yaml`: memory, work and time of a training, before anything is loaded."""

from dataclasses import dataclass, field

from mser_llm.cli.train import TrainArguments
from mser_llm.training.arguments import DataArguments, ModelArguments, MSERTrainingArguments
from mser_llm.training.planning.formatting import plan_lines
from processing_mser import MAX_SECONDS, label_set


@dataclass
class PlanArguments(TrainArguments):
    """What to plan for, beside what is to be trained."""

    clips: int = field(default=10_000, metadata={"help": "Training clips."})
    seconds: float = field(default=3.0, metadata={"help": "Their mean length."})
    longest: float | None = field(
        default=None, metadata={"help": "Seconds of the longest, which memory is reckoned by; the mean without."}
    )
    validation_clips: int | None = field(
        default=None, metadata={"help": "Clips judged by after each epoch; by validation_fraction without."}
    )
    gpu: str = field(
        default="cpu", metadata={"help": "A100, H100, H200, L40S, RTX4090, or cpu: this machine, measured."}
    )
    share: float | None = field(
        default=None, metadata={"help": "Of peak arithmetic that is reached: 0.4 on a GPU; what is measured on a CPU."}
    )
    num_processes: int = field(default=1, metadata={"help": "Processes, each on a GPU of its own."})

    def __post_init__(self) -> None:
        from mser_llm.training.planning.machines import MACHINES

        for name in ("clips", "num_processes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give at least 1")
        if self.validation_clips is not None and self.validation_clips < 0:
            raise ValueError(f"validation_clips is {self.validation_clips}; give 0 or more")
        for name in ("seconds", "longest"):
            value = getattr(self, name)
            if value is not None and not 0.1 <= value <= MAX_SECONDS:
                raise ValueError(f"{name} is {value:g}; give 0.1 to {MAX_SECONDS:g} seconds")
        if self.longest is not None and self.longest < self.seconds:
            raise ValueError(f"longest is {self.longest:g} and the mean, seconds, {self.seconds:g}; give a longer one")
        if self.share is not None and not 0 < self.share <= 1:
            raise ValueError(f"share is {self.share:g}; give a part of the peak, above 0 and at most 1")
        if self.gpu not in (*MACHINES, "cpu"):
            raise ValueError(f"gpu is {self.gpu!r}; choose from {', '.join(MACHINES)}, or cpu for this machine")


ARGUMENTS = (PlanArguments, ModelArguments, DataArguments, MSERTrainingArguments)
HELP = "what a training takes in memory and time; reads configurations, loads no weights"


def run(command: PlanArguments, model: ModelArguments, data: DataArguments, training: MSERTrainingArguments) -> int:
    """Reckons and prints."""
    from mser_llm.cli.earlier_stage import check_init_from
    from mser_llm.training.planning.machines import MACHINES, this_machine
    from mser_llm.training.planning.meta_model import build_skeleton
    from mser_llm.training.planning.plan import Clips, largest_batch, make_plan
    from mser_llm.training.run_training import resolve_recipe

    check_init_from(model.init_from)
    resolve_recipe(model, data, training)
    held_out = command.validation_clips
    if held_out is None and data.validation_corpora:
        raise ValueError(
            f"nothing is known of the clips of {', '.join(data.validation_corpora)}; say with --validation_clips how "
            "many they are"
        )
    if held_out is None:
        held_out = round(command.clips * data.validation_fraction / (1 - data.validation_fraction))
    skeleton = build_skeleton(model, label_set(data.labels).words, has_bfloat16=command.gpu != "cpu")
    mean, longest = (
        min(seconds, skeleton.heard_seconds) for seconds in (command.seconds, command.longest or command.seconds)
    )
    clips = Clips(command.clips, mean, longest, held_out)
    machine = this_machine() if command.gpu == "cpu" else MACHINES[command.gpu]
    share = command.share or (1.0 if command.gpu == "cpu" else 0.4)
    plan = make_plan(skeleton, data, training, clips, machine, share, command.num_processes)
    largest = largest_batch(skeleton, training, clips.longest, machine, command.num_processes)
    print("\n".join(plan_lines(plan, clips, training, share, command.num_processes, largest)))
    return 0
