# SPDX-License-Identifier: Apache-2.0
"""`run-mser plan CONFIG.yaml`: estimate the memory and time of a training before anything is loaded."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mser_llm.cli.dataclass_arguments import option
from mser_llm.cli.train import TrainArguments
from mser_llm.cli.training_section import TrainingSection
from mser_llm.training.arguments import DataArguments, ModelArguments
from mser_llm.training.number_bounds import AT_LEAST_ONE, NOT_NEGATIVE, POSITIVE_FRACTION, between, check_numbers
from processing_mser import MAX_SECONDS, label_set


if TYPE_CHECKING:
    from mser_llm.training.training_arguments import MSERTrainingArguments


# The names of `planning.MACHINES`, which takes seconds to import.
GPUS = ("A100", "H100", "H200", "L40S", "RTX4090")
BOUNDS = {
    **dict.fromkeys(("clips", "num_processes"), AT_LEAST_ONE),
    **dict.fromkeys(("seconds", "longest"), between(0.1, MAX_SECONDS)),
    "validation_clips": NOT_NEGATIVE,
    "share": POSITIVE_FRACTION,
}


@dataclass
class PlanArguments(TrainArguments):
    """What to plan for, in addition to the recipe."""

    clips: int = option(10_000, "Number of training clips.")
    seconds: float = option(3.0, "Mean length of a clip.")
    longest: float | None = option(None, "Seconds of the longest clip, which decides the memory. Default: the mean.")
    validation_clips: int | None = option(None, "Clips evaluated after each epoch. Default: from validation_fraction.")
    gpu: str = option("cpu", "A GPU with published numbers, or cpu: this machine, measured.", choices=(*GPUS, "cpu"))
    share: float = option(0.4, "Part of the peak arithmetic that is reached.")
    num_processes: int = option(1, "Number of processes, each on its own GPU.")

    def __post_init__(self) -> None:
        check_numbers(vars(self), BOUNDS)
        if self.longest is not None and self.longest < self.seconds:
            raise ValueError(f"longest is {self.longest:g}, less than the mean, seconds ({self.seconds:g}); raise it")


ARGUMENTS = (PlanArguments, ModelArguments, DataArguments, TrainingSection())
HELP = "estimate the memory and time of a training; reads configurations, loads no weights"


def run(command: PlanArguments, model: ModelArguments, data: DataArguments, training: "MSERTrainingArguments") -> int:
    """Estimate and print."""
    from mser_llm.cli.argument_checks import check_init_from
    from mser_llm.training.planning import MACHINES, ClipCounts, largest_batch, make_plan, measure_cpu
    from mser_llm.training.run_training import resolve_recipe
    from mser_llm.training.step_cost import build_meta_model

    check_init_from(model.init_from)
    resolve_recipe(model, data, training)
    validation = command.validation_clips
    if validation is None and data.validation_corpora:
        raise ValueError(
            f"the number of clips of {', '.join(data.validation_corpora)} is unknown; pass it with --validation_clips"
        )
    if validation is None:
        validation = round(command.clips * data.validation_fraction / (1 - data.validation_fraction))
    meta = build_meta_model(model, label_set(data.labels).words, has_bfloat16=command.gpu != "cpu")
    mean, longest = (
        min(seconds, meta.max_seconds) for seconds in (command.seconds, command.longest or command.seconds)
    )
    clips = ClipCounts(command.clips, mean, longest, validation)
    machine = measure_cpu() if command.gpu == "cpu" else MACHINES[command.gpu]
    plan = make_plan(meta, data, training, clips, machine, command.share, command.num_processes)
    largest = largest_batch(meta, training, clips.longest, machine, command.num_processes)
    print("\n".join(_lines(plan, clips, training, command, largest)))
    return 0


def _lines(
    plan: Any, clips: Any, training: "MSERTrainingArguments", command: PlanArguments, largest: int
) -> list[str]:
    flops = f"GFLOP per batch of {plan.rows}"
    lines = [f"{'part':<16}{'parameters':>15}{'trained':>13}{'forward':>11}{'backward':>11}  {flops}"]
    for part in plan.cost.parts:
        once = "  (once per clip, cached)" if part.name == "encoder" and plan.cost.encoder_frozen else ""
        lines.append(
            f"{part.name:<16}{part.parameters:>15,}{part.trained:>13,}"
            f"{part.forward / 1e9:>11,.1f}{part.backward / 1e9:>11,.1f}{once}"
        )
    processes = "" if command.num_processes == 1 else f", each of {command.num_processes} processes"
    lines += ["", f"memory while training, {clips.longest:g} s clips{processes}"]
    lines += [f"  {name:<38}{format_bytes(size):>10}" for name, size in plan.memory.items()]
    lines += [f"  {'total':<38}{format_bytes(sum(plan.memory.values())):>10}"]
    if plan.encoding_memory:
        lines.append(f"memory while encoding                   {format_bytes(plan.encoding_memory):>10}")
    lines.append(f"features cached on disk                 {format_bytes(plan.cache_bytes):>10}")
    if plan.cached < 1:
        lines.append(f"  {plan.cached:.0%} of the clips and views; the others are encoded at each use: raise cache_gb")
    machine = plan.machine
    origin = "measured" if machine.name == "cpu" else "published"
    lines += [
        "",
        f"{machine.name}: {machine.half_flops / 1e12:,.3g} TFLOP/s bfloat16, {machine.full_flops / 1e12:,.3g} float32 "
        f"({origin}; {command.share:.0%} assumed), {format_bytes(machine.memory)}",
        f"{clips.number:,} clips of {clips.seconds:g} s: {plan.steps:,} steps of {plan.step_flops / 1e12:.3g} TFLOP, "
        f"{format_duration(plan.step_seconds)} each",
        f"encoding {format_duration(plan.encoding_seconds)}, training "
        f"{format_duration(plan.steps * plan.step_seconds)}, evaluation {format_duration(plan.evaluation_seconds)}: "
        f"{format_duration(plan.hours * 3600)} in total",
        _verdict(plan, training, largest),
    ]
    return lines


def _verdict(plan: Any, training: "MSERTrainingArguments", largest: int) -> str:
    """Whether the training fits, and what to change if it does not."""
    sizes = f"{format_bytes(plan.peak_memory)} of {format_bytes(plan.machine.memory)}"
    batch = training.per_device_train_batch_size
    if plan.fits:
        return f"Fits: {sizes}; the largest batch is about {largest:,}"
    if largest >= 1:
        return f"Does not fit: {sizes}; pass --per_device_train_batch_size {min(largest, batch - 1) or 1}"
    half = "" if any(part.half for part in plan.cost.parts) else "--backbone_dtype bfloat16, "
    return (
        f"Does not fit with any batch: {sizes}; use {half}a smaller backbone, a larger GPU, or several GPUs with "
        "configs/accelerate/fsdp.yaml"
    )


def format_bytes(size: float) -> str:
    """In MB below 1 GB, else in GB."""
    return f"{size / 1e6:.0f} MB" if size < 1e9 else f"{size / 1e9:,.1f} GB"


def format_duration(seconds: float) -> str:
    """In the largest unit that fits."""
    for size, name in ((3600, "h"), (60, "min"), (1, "s")):
        if seconds >= size:
            return f"{seconds / size:.3g} {name}"
    return f"{seconds * 1000:.3g} ms"
