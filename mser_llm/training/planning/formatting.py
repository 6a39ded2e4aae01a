# SPDX-License-Identifier: Apache-2.0
"""A plan in words."""

from mser_llm.training.arguments import MSERTrainingArguments
from mser_llm.training.planning.plan import Clips, Plan


def plan_lines(
    plan: Plan, clips: Clips, training: MSERTrainingArguments, share: float, num_processes: int, largest: int
) -> list[str]:
    """
    The report of `run-mser plan`.

    Args:
        plan: to be told.
        clips, training, share, num_processes: that it was made for.
        largest: batch that fits.
    """
    lines = [
        f"{'part':<24}{'parameters':>16}{'trained':>14}{'forward':>12}{'backward':>12}   GFLOP a batch of {plan.rows}"
    ]
    for part in plan.costs.parts:
        kept = " (once a clip, kept)" if part.name == "encoder" and plan.costs.encoder_frozen else ""
        lines.append(
            f"{part.name:<24}{part.parameters:>16,}{part.trained:>14,}"
            f"{part.forward.flops / 1e9:>12,.1f}{part.backward.flops / 1e9:>12,.1f}{kept}"
        )
    processes = "" if num_processes == 1 else f", each of {num_processes} processes"
    lines += ["", f"memory while training, {clips.longest:g} s clips{processes}"]
    lines += [f"  {name:<38}{told_bytes(size):>10}" for name, size in plan.memory.items()]
    lines += [f"  {'together':<38}{told_bytes(sum(plan.memory.values())):>10}"]
    if plan.encoding_memory:
        lines.append(f"memory while encoding                   {told_bytes(plan.encoding_memory):>10}")
    lines.append(f"features kept on disk                   {told_bytes(plan.cache_bytes):>10}")
    if plan.cached < 1:
        lines.append(f"  {plan.cached:.0%} of the clips and views; the rest is encoded at every use: raise cache_gb")
    machine = plan.machine
    speed = f"{machine.half_flops / 1e12:,.3g} TFLOP/s bfloat16, {machine.full_flops / 1e12:,.3g} float32"
    reached = "measured" if machine.name == "cpu" else f"published; {share:.0%} of it assumed"
    lines += ["", f"{machine.name}: {speed} ({reached}), {told_bytes(machine.memory)}"]
    lines.append(
        f"{clips.number:,} clips of {clips.seconds:g} s, {plan.steps:,} steps of {plan.step_flops / 1e12:.3g} TFLOP, "
        f"{told_seconds(plan.step_seconds)} each"
    )
    lines.append(
        f"encoding {told_seconds(plan.encoding_seconds)}, training {told_seconds(plan.steps * plan.step_seconds)}, "
        f"evaluation {told_seconds(plan.evaluation_seconds)}: {told_seconds(plan.hours * 3600)} in all"
    )
    lines.append(fit_line(plan, training, largest))
    return lines


def fit_line(plan: Plan, training: MSERTrainingArguments, largest: int) -> str:
    """
    Whether it fits, and the cure where it does not.

    Args:
        plan: to be told.
        training: that it was made for.
        largest: batch that fits; 0 for none.
    """
    batch, machine = training.per_device_train_batch_size, plan.machine
    sizes = f"{told_bytes(plan.peak_memory)} of {told_bytes(machine.memory)}"
    if plan.fits:
        return f"Fits: {sizes}; the largest batch that does is about {largest:,}"
    if largest >= 1:
        return f"Does not fit: {sizes}; give --per_device_train_batch_size {min(largest, batch - 1) or 1}"
    half = "" if any(part.forward.in_half for part in plan.costs.parts) else "--backbone_dtype bfloat16, "
    several = "several under configs/accelerate/fsdp.yaml"
    return f"Does not fit: {sizes}, in no batch; give {half}a smaller backbone, a larger GPU, or {several}"


def summary(plan: Plan, training: MSERTrainingArguments, num_processes: int, largest: int) -> str:
    """The line before a training."""
    return (
        f"Planned: {plan.costs.trained:,} weights trained, {plan.steps:,} steps on {num_processes} "
        f"process{'es' * (num_processes > 1)}, about {told_seconds(plan.hours * 3600)}. "
        f"{fit_line(plan, training, largest)}"
    )


def told_bytes(size: float) -> str:
    """In MB below 1 GB, and in GB."""
    return f"{size / 1e6:.0f} MB" if size < 1e9 else f"{size / 1e9:,.1f} GB"


def told_seconds(seconds: float) -> str:
    """In the largest unit that fits."""
    for size, name in ((3600, "h"), (60, "min"), (1, "s")):
        if seconds >= size:
            return f"{seconds / size:.3g} {name}"
    return f"{seconds * 1000:.3g} ms"
