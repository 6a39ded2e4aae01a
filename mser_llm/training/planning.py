# SPDX-License-Identifier: Apache-2.0
"""Estimate the memory and time of a training from its recipe, for a machine."""

import math
import os
import time
from dataclasses import dataclass

import torch

from mser_llm.inference.feature_cache import ENCODING_BATCH
from mser_llm.training.arguments import DataArguments
from mser_llm.training.batch_size import optimizer_bytes, rows_of_clip
from mser_llm.training.step_cost import MetaModel, PartCost, StepCost, step_cost
from mser_llm.training.training_arguments import MSERTrainingArguments


GPU_RESERVE = 1e9
"""Bytes of a GPU that the CUDA context, its libraries and unused allocator blocks take, roughly."""


@dataclass(frozen=True)
class Machine:
    """A machine by the name of the command line: peak FLOP/s in bfloat16 (dense) and float32, and bytes of memory."""

    name: str
    half_flops: float
    full_flops: float
    memory: float

    @property
    def usable_memory(self) -> float:
        """Return the bytes that a training can use."""
        return self.memory - (0 if self.name == "cpu" else GPU_RESERVE)

    def seconds(self, part: PartCost, flops: float, share: float) -> float:
        """Return the time for `flops` of a part of the model, at `share` of the peak."""
        return flops / (share * (self.half_flops if part.half else self.full_flops))


# NVIDIA's data sheets "A100 80GB SXM" (2021), "H100 SXM" (2023), "H200 SXM" (2024), "L40S" (2023) and the Ada
# whitepaper (RTX 4090): dense bfloat16 with float32 accumulation, float32 without tensor cores, memory.
MACHINES = {
    machine.name: machine
    for machine in (
        Machine("A100", 312e12, 19.5e12, 80e9),
        Machine("H100", 989e12, 67e12, 80e9),
        Machine("H200", 989e12, 67e12, 141e9),
        Machine("L40S", 362e12, 91.6e12, 48e9),
        Machine("RTX4090", 165e12, 82.6e12, 24e9),
    )
}


def measure_cpu() -> Machine:
    """Measure this processor's matrix multiplication with torch's threads; takes half a second."""

    def flops(dtype: torch.dtype) -> float:
        left, right = torch.randn(2048, 512).to(dtype), torch.randn(512, 512).to(dtype)
        left @ right
        calls, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < 0.25:
            left @ right
            calls += 1
        return calls * 2 * 2048 * 512 * 512 / elapsed

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    return Machine("cpu", flops(torch.bfloat16), flops(torch.float32), memory)


@dataclass(frozen=True)
class ClipCounts:
    """Number of training clips (without views), their mean and maximum seconds, and number of validation clips."""

    number: int
    seconds: float
    longest: float
    validation: int = 0


@dataclass(frozen=True)
class Plan:
    """
    Attributes:
        rows: rows per batch: clips or, with BYOL, views.
        cost: cost of one batch of clips of mean length.
        memory: bytes while training, by purpose, for the longest clips.
        encoding_memory: bytes while a frozen encoder computes features.
        cache_bytes, cached: size of the cached features, and the share of clips and views that are cached.
        steps: optimizer steps of the training.
        step_flops: FLOPs per optimizer step and process.
        encoding_seconds, step_seconds: time to encode the cached clips and views, and of one optimizer step.
        evaluation_seconds: time of all evaluations.
        machine: machine of each process.
    """

    rows: int
    cost: StepCost
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
        """Return the bytes of encoding or training, whichever needs more."""
        return max(sum(self.memory.values()), self.encoding_memory)

    @property
    def hours(self) -> float:
        return (self.encoding_seconds + self.steps * self.step_seconds + self.evaluation_seconds) / 3600

    @property
    def fits(self) -> bool:
        return self.peak_memory <= self.machine.usable_memory


def make_plan(
    meta: MetaModel,
    data: DataArguments,
    training: MSERTrainingArguments,
    clips: ClipCounts,
    machine: Machine,
    share: float = 1.0,
    num_processes: int = 1,
) -> Plan:
    """Estimate the memory and time of a training, if each process reaches a share of its machine's peak FLOP/s."""
    batch = training.per_device_train_batch_size
    rows = batch * rows_of_clip(training)
    cost = step_cost(meta, rows, clips.seconds, training)
    encoder, *upper = cost.parts
    stored = clips.number * data.views + clips.validation
    stored_bytes = stored * clips.seconds * meta.cached_bytes_per_second
    cached = min(1.0, data.cache_gb * 1e9 / max(stored_bytes, 1.0))

    accumulated, joined = training.gradient_accumulation_steps, batch * num_processes
    # Items that the sampler of `balance` draws per epoch.
    items = clips.number * {"none": data.views, "speaker": min(data.views, 2)}.get(training.balance, 1)
    batches = math.ceil(items / joined) if training.epoch_batches is None else training.epoch_batches
    steps_per_epoch = max(math.ceil(batches / accumulated), 1)
    steps = training.max_steps if training.max_steps > 0 else math.ceil(steps_per_epoch * training.num_train_epochs)

    # A frozen encoder runs only for clips that are not cached.
    encoded = (1 - cached) * batch / rows if cost.encoder_frozen else 1.0
    work = [(encoder, encoder.forward * encoded + encoder.backward)]
    work += [(part, part.forward + part.backward) for part in upper]
    encoding = machine.seconds(encoder, encoder.forward, share)
    forward = sum(machine.seconds(part, part.forward, share) for part in upper)
    forward += 0.0 if cost.encoder_frozen else encoding
    return Plan(
        rows=rows,
        cost=cost,
        memory=_memory(meta, rows, clips.longest, training, num_processes),
        encoding_memory=_encoding_memory(meta, cost, clips.longest),
        cache_bytes=stored_bytes * cached,
        cached=cached,
        steps=steps,
        step_flops=round(accumulated * sum(flops for _, flops in work)),
        encoding_seconds=encoding / rows * stored * cached / num_processes if cost.encoder_frozen else 0.0,
        step_seconds=accumulated * sum(machine.seconds(part, flops, share) for part, flops in work),
        evaluation_seconds=steps / steps_per_epoch * clips.validation / (rows * num_processes) * forward,
        machine=machine,
    )


def largest_batch(
    meta: MetaModel, training: MSERTrainingArguments, seconds: float, machine: Machine, num_processes: int = 1
) -> int:
    """Return the largest `per_device_train_batch_size` that fits, for clips of `seconds`, or 0."""
    rows = rows_of_clip(training)
    # Activations grow linearly with the batch, everything else is constant.
    low, high = (sum(_memory(meta, size * rows, seconds, training, num_processes).values()) for size in (2, 4))
    per_clip = max((high - low) / 2, 1.0)
    return max(0, math.floor((machine.usable_memory - low) / per_clip) + 2)


def _memory(
    meta: MetaModel, rows: int, seconds: float, training: MSERTrainingArguments, num_processes: int
) -> dict[str, int]:
    cost = step_cost(meta, rows, seconds, training)
    gradients = 4 * cost.trained
    memory = {f"weights: {part.name}": part.weight_bytes for part in cost.parts} | {
        "gradients": gradients,
        "optimizer": optimizer_bytes(training) * cost.trained,
        "activations": cost.activation_bytes,
        "average of the weights": 0 if training.average_from is None else gradients,
        "gradients joined across processes": gradients if num_processes > 1 else 0,
    }
    return {name: size for name, size in memory.items() if size}


def _encoding_memory(meta: MetaModel, cost: StepCost, seconds: float) -> int:
    """Return the bytes of the weights and of one encoder layer: input, inner layer twice, attention scores."""
    if not cost.encoder_frozen:
        return 0
    config = meta.model.config.audio_config
    frames = 50 * seconds
    inner = int(getattr(config, "encoder_ffn_dim", None) or config.intermediate_size)
    heads = int(getattr(config, "encoder_attention_heads", None) or config.num_attention_heads)
    layers = len(meta.model.config.used_encoder_layers) + 2
    layer = frames * (2 * inner + layers * config.hidden_size) + heads * frames**2
    return round(cost.weight_bytes + ENCODING_BATCH * layer * 4)
