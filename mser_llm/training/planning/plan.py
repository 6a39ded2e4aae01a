# SPDX-License-Identifier: Apache-2.0
"""A training's memory and time, from its recipe, the clips' number and length, and a machine."""

import inspect
import math
from collections import Counter
from dataclasses import dataclass

from mser_llm.inference.clip_features import BATCHES_PER_SHARD, ENCODING_BATCH
from mser_llm.training.activation_checkpointing import checkpoint_activations
from mser_llm.training.arguments import DataArguments, MSERTrainingArguments
from mser_llm.training.objectives import BYOL
from mser_llm.training.planning.machines import Machine
from mser_llm.training.planning.meta_model import Skeleton
from mser_llm.training.planning.step_costs import StepCosts, StepShape, step_costs
from mser_llm.training.planning.step_meter import Work


# Bytes of state that an optimiser keeps for each trained parameter; two float32 moments where it is none of these.
OPTIMIZER_BYTES = {
    "sgd": 0,
    "adafactor": 0,
    "adagrad": 4,
    "rmsprop": 4,
    "lion_32bit": 4,
    "adamw_8bit": 2,
    "adamw_bnb_8bit": 2,
    "paged_adamw_8bit": 2,
    "lion_8bit": 1,
}
OVERHEAD = 1e9
"""Bytes of a GPU that CUDA's context, its libraries and the allocator's unused blocks take, roughly."""


@dataclass(frozen=True)
class Clips:
    """
    Attributes:
        number: of training clips, without views.
        seconds: of one on average.
        longest: seconds of the longest, by which memory is reckoned.
        validation: clips that are judged by after each epoch.
    """

    number: int
    seconds: float
    longest: float
    validation: int = 0


@dataclass(frozen=True)
class Plan:
    """
    What a training costs on each of its processes' machines.

    Attributes:
        rows: of a batch, which are its clips or, under `byol`, their views.
        costs: of one step at the clips' mean length.
        memory: bytes while training, by what takes them, for the longest clips.
        encoding_memory: bytes at the worst while a frozen encoder runs over the clips.
        cache_bytes: what the kept features take on disk.
        cached: share of the clips and views whose features are kept.
        steps: optimiser steps of the whole training.
        step_flops: of one optimiser step of one process, the encoder's over clips that are not kept included.
        encoding_seconds, step_seconds, evaluation_seconds: of encoding every clip once, of one optimiser step, and of
            all evaluations.
        machine: that it was reckoned for.
    """

    rows: int
    costs: StepCosts
    memory: dict[str, int]
    encoding_memory: int
    cache_bytes: float
    cached: float
    steps: int
    step_flops: int
    encoding_seconds: float
    step_seconds: float
    evaluation_seconds: float
    machine: Machine

    @property
    def peak_memory(self) -> int:
        """Bytes, at the worst of encoding and training."""
        return max(sum(self.memory.values()), self.encoding_memory)

    @property
    def hours(self) -> float:
        """From the first clip encoded to the last step."""
        return (self.encoding_seconds + self.steps * self.step_seconds + self.evaluation_seconds) / 3600

    @property
    def fits(self) -> bool:
        """Whether the machine's memory holds it."""
        return self.peak_memory + _overhead(self.machine) <= self.machine.memory


def make_plan(
    skeleton: Skeleton,
    data: DataArguments,
    training: MSERTrainingArguments,
    clips: Clips,
    machine: Machine,
    share: float = 1.0,
    num_processes: int = 1,
) -> Plan:
    """
    Args:
        skeleton: of the model.
        data, training: the recipe.
        clips: that are trained on and judged by.
        machine: of each process.
        share: of the peak of arithmetic that is reached.
        num_processes: that train together.
    """
    batch = training.per_device_train_batch_size
    rows = batch * rows_of_clip(training)
    mean = _costs(skeleton, rows, clips.seconds, training)
    longest = mean if clips.longest == clips.seconds else _costs(skeleton, rows, clips.longest, training)
    encoder = mean.parts[0]
    views = clips.number * data.views
    bytes_of_one = clips.seconds * feature_bytes_per_second(skeleton)
    cached = min(1.0, data.cache_gb * 1e9 / max((views + clips.validation) * bytes_of_one, 1.0))

    everything = training.gradient_accumulation_steps
    joined = batch * num_processes
    batches = math.ceil(views_of_epoch(training, clips.number, data.views, joined) / joined)
    steps = training.max_steps
    if steps <= 0:
        steps = math.ceil(math.ceil(batches / everything) * training.num_train_epochs)
    work = _sum([part.forward + part.backward for part in mean.parts[1:]]) + encoder.backward
    work = work + _reading(skeleton, batch, clips.seconds)
    if mean.encoder_frozen:
        uncached = machine.seconds(encoder.forward, share) * (1 - cached) * batch / rows
    else:
        work, uncached = work + encoder.forward, 0.0
    update = optimizer_work(mean.trained, training, num_processes)
    step_seconds = everything * (machine.seconds(work, share) + uncached) + machine.seconds(update)
    forward = machine.seconds(
        _sum([part.forward for part in mean.parts[0 if not mean.encoder_frozen else 1 :]]), share
    )
    epochs = steps / max(math.ceil(batches / everything), 1)
    evaluations = epochs * clips.validation / (rows * num_processes) * forward
    encoding = machine.seconds(encoder.forward, share) / rows * (views + clips.validation) * cached / num_processes
    return Plan(
        rows=rows,
        costs=mean,
        memory=_memory(longest, training, machine, num_processes),
        encoding_memory=_encoding_memory(skeleton, longest, clips, rows),
        cache_bytes=(views + clips.validation) * bytes_of_one * cached,
        cached=cached,
        steps=steps,
        step_flops=everything
        * round(work.flops + (encoder.forward.flops * (1 - cached) * batch / rows if mean.encoder_frozen else 0)),
        encoding_seconds=encoding if mean.encoder_frozen else 0.0,
        step_seconds=step_seconds,
        evaluation_seconds=evaluations,
        machine=machine,
    )


def largest_batch(
    skeleton: Skeleton, training: MSERTrainingArguments, seconds: float, machine: Machine, num_processes: int = 1
) -> int:
    """
    The largest `per_device_train_batch_size` that fits; 0 where none does.

    What a batch needs grows with it, in straight lines that become steeper, so the line through two sizes of which the
    larger does not fit gives one that does.

    Args:
        skeleton: of the model.
        training: the recipe.
        seconds: of the longest clips.
        machine: whose memory it is to fit.
        num_processes: that train together.
    """
    memory, rows = machine.memory - _overhead(machine), rows_of_clip(training)

    def needed(size: int) -> int:
        costs = _costs(skeleton, size * rows, seconds, training)
        return sum(_memory(costs, training, machine, num_processes).values())

    low, high = 2, 8
    needed_low, needed_high = needed(low), needed(high)
    while True:
        slope = max((needed_high - needed_low) / (high - low), 1.0)
        size = max(0, math.floor(low + (memory - needed_low) / slope))
        if size <= high * 1.02:
            return size
        low, needed_low = high, needed_high
        high, needed_high = size, needed(size)


def feature_bytes_per_second(skeleton: Skeleton) -> float:
    """Of one clip's kept features, in half precision."""
    config = skeleton.model.config
    if skeleton.model.frozen_encoder() is not None:
        return 50 * len(config.used_encoder_layers) * config.audio_config.hidden_size * 2
    return skeleton.frames_per_second * getattr(config.audio_config, "num_mel_bins", 1) * 2


def views_of_epoch(training: MSERTrainingArguments, clips: int, views: int, batch: int) -> int:
    """
    Items that an epoch shows, by the sampler of `balance`: without one each view of each clip, with one a view of each
    clip, and of speakers a clip with a changed view of it.

    Args:
        training: the recipe.
        clips: their number, without views.
        views: of each.
        batch: of all processes together.
    """
    if training.epoch_batches is not None:
        return training.epoch_batches * batch
    return clips * {"none": views, "speaker": min(views, 2)}.get(training.balance, 1)


def rows_of_clip(training: MSERTrainingArguments) -> int:
    """Rows of a batch that one of its clips becomes at most: itself, or its views for `byol` where it is labelled."""
    given = training.objective_section.get("byol", {"weight": 0}) or {}
    if given.get("weight") == 0:
        return 1
    return 2 + given.get("supervised_views", inspect.signature(BYOL).parameters["supervised_views"].default)


def optimizer_work(trained: int, training: MSERTrainingArguments, num_processes: int) -> Work:
    """What a step does after the backward pass: clip, update, average, and join the gradients of processes."""
    state = optimizer_bytes(training)
    # Gradients are read to be measured, read and written to be clipped, and read to be applied; weights and state are
    # read and written; the average is read and written beside the weights it takes in.
    per_parameter = 4 * 4 + 2 * 4 + 2 * state
    per_parameter += 0 if training.average_from is None else 12
    per_parameter += 0 if num_processes == 1 else 16
    return Work(Counter({(0, trained * per_parameter, False): 1}))


def optimizer_bytes(training: MSERTrainingArguments) -> int:
    """Of state for each trained parameter."""
    return OPTIMIZER_BYTES.get(str(getattr(training.optim, "value", training.optim)), 8)


def _costs(skeleton: Skeleton, batch: int, seconds: float, training: MSERTrainingArguments) -> StepCosts:
    shape = StepShape(batch, round(seconds * skeleton.frames_per_second), skeleton.text_length, skeleton.label_length)
    with skeleton.mode:
        model = skeleton.model
        checkpoint_activations(model, training)
        model.zero_grad()
        try:
            return step_costs(model, shape, training.bf16, accumulates=training.gradient_accumulation_steps > 1)
        finally:
            model.zero_grad()


def _memory(costs: StepCosts, training: MSERTrainingArguments, machine: Machine, num_processes: int) -> dict[str, int]:
    trained = costs.trained
    memory = {f"weights: {part.name}": part.weight_bytes for part in costs.parts}
    gradients = 4 * trained
    memory |= {
        "gradients": min(gradients, costs.step_bytes),
        "optimiser": optimizer_bytes(training) * trained,
        "logits at label positions": costs.logits_bytes,
        "activations": max(0, costs.step_bytes - gradients - costs.logits_bytes),
    }
    if training.average_from is not None:
        memory["average of the weights"] = 4 * trained
    if machine.name == "cpu":  # on a GPU it waits in the memory of the host
        memory["the next batch, read ahead"] = costs.batch_bytes
    if num_processes > 1:
        memory["gradients joined across processes"] = gradients
    return {name: size for name, size in memory.items() if size}


def _encoding_memory(skeleton: Skeleton, costs: StepCosts, clips: Clips, rows: int) -> int:
    if not costs.encoder_frozen:
        return 0
    one = clips.seconds * feature_bytes_per_second(skeleton)
    encoding = costs.encoding_bytes * ENCODING_BATCH / rows
    # Features wait for their shard in half precision, and are copied once more when it is written, between batches.
    shard = one * min(ENCODING_BATCH * BATCHES_PER_SHARD, clips.number)
    held = max(encoding + shard, 2 * shard) if skeleton.model.device.type == "cpu" else encoding
    return round(costs.weight_bytes + held)


def _reading(skeleton: Skeleton, batch: int, seconds: float) -> Work:
    """Features out of the cache, widened to float32 and padded."""
    half = round(batch * seconds * feature_bytes_per_second(skeleton))
    return Work(Counter({(0, 8 * half, False): 1, (0, 0, False): 40}))


def _overhead(machine: Machine) -> float:
    return OVERHEAD if machine.overlaps else 0.0


def _sum(works: list[Work]) -> Work:
    total = Work()
    for work in works:
        total = total + work
    return total
