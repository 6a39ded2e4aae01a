# SPDX-License-Identifier: Apache-2.0
"""What a long training will take, told before it starts, and a warning where its precision is slow here."""

from collections.abc import Sequence

import torch

from mser_llm.data.clips import Clip
from mser_llm.training.arguments import DataArguments, ModelArguments, MSERTrainingArguments
from mser_llm.training.planning.formatting import summary
from mser_llm.training.planning.machines import MACHINES, Machine, this_machine
from mser_llm.training.planning.meta_model import build_skeleton
from mser_llm.training.planning.plan import Clips, largest_batch, make_plan, views_of_epoch
from processing_mser import label_set


LONG = 5000
"""Clips shown in a training, each as often as it is, from which on reckoning is worth its second or two."""


def tell_plan(
    model: ModelArguments,
    data: DataArguments,
    training: MSERTrainingArguments,
    train_clips: Sequence[Clip],
    validation_clips: Sequence[Clip],
    num_processes: int,
) -> None:
    """
    Prints one line before a training that is long. A plan that cannot be made is no reason not to train: the line then
    says why there is none.

    Args:
        model, data, training: the recipe.
        train_clips, validation_clips: that it is trained on and judged by.
        num_processes: that train together.
    """
    batch = training.per_device_train_batch_size * num_processes
    shown = views_of_epoch(training, len(train_clips), data.views, batch) * training.num_train_epochs
    if training.max_steps > 0:
        shown = training.max_steps * training.gradient_accumulation_steps * batch
    if shown < LONG:
        return
    try:
        lines = _lines(model, data, training, train_clips, len(validation_clips), num_processes)
    except Exception as error:
        why = " ".join(str(error).split())
        lines = [f"Not planned, and trained all the same: {type(error).__name__}{f': {why}' if why else ''}"]
    for line in lines:
        print(line)


def device_machine() -> Machine | None:
    """The machine that training runs on; `None` for an accelerator that nothing is known of."""
    if not torch.accelerator.is_available():
        return this_machine(seconds=0.6)
    if not torch.cuda.is_available():
        return None
    found = torch.cuda.get_device_properties(0)
    name = found.name.replace(" ", "")
    return next((machine for known, machine in MACHINES.items() if known in name), None)


def _lines(
    model: ModelArguments,
    data: DataArguments,
    training: MSERTrainingArguments,
    train_clips: Sequence[Clip],
    num_validation_clips: int,
    num_processes: int,
) -> list[str]:
    """What is to be told; nothing of an accelerator that nothing is known of."""
    machine = device_machine()
    if machine is None:
        return []
    on_gpu = machine.name != "cpu"
    skeleton = build_skeleton(model, label_set(data.labels).words, has_bfloat16=on_gpu)
    seconds = [min(clip.seconds, skeleton.heard_seconds) for clip in train_clips]
    clips = Clips(len(seconds), sum(seconds) / len(seconds), max(seconds), num_validation_clips)
    plan = make_plan(skeleton, data, training, clips, machine, 0.4 if on_gpu else 1.0, num_processes)
    largest = largest_batch(skeleton, training, clips.longest, machine, num_processes)
    lines = [summary(plan, training, num_processes, largest)]
    if training.bf16 and machine.half_flops < machine.full_flops:
        ratio = machine.full_flops / machine.half_flops
        lines.append(f"Warning: bf16 is {ratio:.1f} times slower than float32 on this processor; leave --bf16 out")
    return lines
