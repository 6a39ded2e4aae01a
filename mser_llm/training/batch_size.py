# SPDX-License-Identifier: Apache-2.0
"""Find the largest batch that fits into memory, before training."""

import gc
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from typing import Any

import torch
from accelerate.utils import gather_object
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

from mser_llm.io.errors import InputError
from mser_llm.training.compat import enable_activation_checkpointing
from mser_llm.training.data.dataset import EmotionCollator, EmotionDataset
from mser_llm.training.objectives import OBJECTIVES
from mser_llm.training.run_record import recorded_batch_size
from mser_llm.training.training_arguments import MSERTrainingArguments


# oneDNN's errors when it runs out of memory; they do not name the cause.
_ONEDNN_FAILURES = (
    "could not create a primitive",
    "could not execute a primitive",
    "could not create a memory object",
)


# Bytes of optimizer state per trained parameter; other optimizers keep two float32 moments.
_OPTIMIZER_BYTES = {
    "sgd": 0,
    "adafactor": 0,
    "lion_8bit": 1,
    **dict.fromkeys(("adamw_8bit", "adamw_bnb_8bit", "paged_adamw_8bit"), 2),
    **dict.fromkeys(("adagrad", "rmsprop", "lion_32bit"), 4),
}


def optimizer_bytes(arguments: MSERTrainingArguments) -> int:
    """Return the bytes of optimizer state per trained parameter."""
    return _OPTIMIZER_BYTES.get(str(getattr(arguments.optim, "value", arguments.optim)), 8)


def rows_of_clip(arguments: MSERTrainingArguments) -> int:
    """Return the maximum number of rows per clip in a batch: 1, or the views of an objective."""
    used = {name: options or {} for name, options in arguments.objective_section.items()}
    rows = [OBJECTIVES[name].rows_per_clip(options) for name, options in used.items() if options.get("weight") != 0]
    return max(rows, default=1)


def checkpoint_activations(model: Any, arguments: MSERTrainingArguments) -> None:
    """Enable activation checkpointing if the recipe asks for it and it is not enabled yet."""
    enabled = any(getattr(module, "gradient_checkpointing", False) for module in model.modules())
    if arguments.gradient_checkpointing and not enabled:
        enable_activation_checkpointing(model, arguments.gradient_checkpointing_kwargs)
        model.train(model.training)


def resolve_batch_size(
    arguments: MSERTrainingArguments, model: Any, dataset: EmotionDataset, collator: EmotionCollator
) -> MSERTrainingArguments:
    """
    Halve `per_device_train_batch_size` until a step with the longest clips fits into memory, on all processes.

    transformers' `auto_find_batch_size` restarts training when memory runs out, on weights that are already trained.
    A resumed run keeps its batch size.

    Returns a copy of `arguments` with the batch size, and without `auto_find_batch_size`.

    Raises:
        InputError: not even one clip fits, or batches have a fixed composition.
    """
    if arguments.balance == "speaker":
        raise InputError(
            "auto_find_batch_size",
            "balance speaker fixes the batch size to speakers_per_batch x clips_per_speaker",
            "leave it out",
        )
    requested = arguments.per_device_train_batch_size
    found = recorded_batch_size(arguments.output_dir) if arguments.resume else None
    if found is None:
        longest = max(range(len(dataset.clips)), key=lambda index: dataset.clips[index].seconds)
        item = dataset[longest * dataset.views]
        checkpoint_activations(model, arguments)
        size, failure = _largest(arguments, model, item, collator)
        found = min(gather_object([size]))
        if found == 0:
            raise InputError(
                "auto_find_batch_size",
                f"not even a batch of 1 fits into the memory of {model.device}",
                "pass --backbone_dtype bfloat16, --gradient_checkpointing, or a smaller backbone",
            ) from failure
    if arguments.process_index == 0:
        print(f"Batch size: {found}" + ("" if found == requested else f" ({requested} does not fit into memory)"))
    arguments = copy(arguments)
    arguments.per_device_train_batch_size, arguments.auto_find_batch_size = found, False
    return arguments


def _largest(
    arguments: MSERTrainingArguments, model: Any, item: dict[str, Any], collator: EmotionCollator
) -> tuple[int, Exception | None]:
    """Return the batch size that fits, or 0, and the error of the next larger one."""
    size = arguments.per_device_train_batch_size
    failure = None
    while size:
        items = [item] * (size * rows_of_clip(arguments))
        try:
            if model.device.type == "cpu":
                # oneDNN no longer works in a thread in which it once ran out of memory.
                with ThreadPoolExecutor(1) as thread:
                    thread.submit(_step, arguments, model, items, collator).result()
            else:
                _step(arguments, model, items, collator)
            return size, failure
        except RuntimeError as error:
            if not (should_reduce_batch_size(error) or str(error) in _ONEDNN_FAILURES):
                raise
            failure = error.with_traceback(None)
        # Outside the handler: the traceback references the tensors of the failed step.
        model.zero_grad()
        gc.collect()
        clear_device_cache()
        size //= 2
    return 0, failure


def _step(
    arguments: MSERTrainingArguments, model: Any, items: Sequence[dict[str, Any]], collator: EmotionCollator
) -> None:
    """
    Run forward and backward with the memory of the optimizer state and the weight average allocated.

    With gradient accumulation, a second batch is run while the gradients of the first are kept.
    """
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    kept = trained * (optimizer_bytes(arguments) + (0 if arguments.average_from is None else 4))
    held = torch.zeros(kept, dtype=torch.uint8, device=model.device)
    batch = {name: value.to(model.device) for name, value in collator(list(items)).items()}
    for name in ("views", "emotion_labels", "language_labels", "speaker_labels"):
        batch.pop(name)
    was_training = model.training
    model.train()
    device = model.device
    # Dropout in this trial must not change the random numbers of the training.
    with torch.random.fork_rng([] if device.type == "cpu" else [device], device_type=device.type):
        for _ in range(min(arguments.gradient_accumulation_steps, 2)):
            with torch.autocast(device.type, torch.bfloat16, enabled=arguments.bf16):
                outputs = model(**batch)
                loss = outputs.loss + outputs.emotion_embedding.float().square().mean()
            loss.backward()
            del outputs, loss
    model.zero_grad()
    model.train(was_training)
    del held
