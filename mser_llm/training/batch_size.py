# SPDX-License-Identifier: Apache-2.0
"""The largest batch that memory holds, tried before training rather than while weights change."""

import gc
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from accelerate.utils import gather_object
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

from mser_llm.training.compat import enable_activation_checkpointing
from mser_llm.training.data.dataset import EmotionCollator, EmotionDataset
from mser_llm.training.objectives import OBJECTIVES
from mser_llm.training.run_record import recorded_batch_size
from mser_llm.training.training_arguments import MSERTrainingArguments


# What oneDNN says when it finds no memory for its code or buffers; it gives no reason.
_ONEDNN_FAILURES = (
    "could not create a primitive",
    "could not execute a primitive",
    "could not create a memory object",
)


# Bytes of state that an optimizer keeps for each trained parameter; two float32 moments where it is none of these.
_OPTIMIZER_BYTES = {
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


def optimizer_bytes(arguments: MSERTrainingArguments) -> int:
    """Bytes of optimizer state for each trained parameter."""
    return _OPTIMIZER_BYTES.get(str(getattr(arguments.optim, "value", arguments.optim)), 8)


def rows_of_clip(arguments: MSERTrainingArguments) -> int:
    """Return the maximum number of rows that one clip becomes in a batch: 1, or the views of an objective."""
    used = {name: options or {} for name, options in arguments.objective_section.items()}
    rows = [OBJECTIVES[name].rows_per_clip(options) for name, options in used.items() if options.get("weight") != 0]
    return max(rows, default=1)


def checkpoint_activations(model: Any, arguments: MSERTrainingArguments) -> None:
    """Enable activation checkpointing if the recipe does, as the trainer will; leave a model alone that has it."""
    enabled = any(getattr(module, "gradient_checkpointing", False) for module in model.modules())
    if arguments.gradient_checkpointing and not enabled:
        enable_activation_checkpointing(model, arguments.gradient_checkpointing_kwargs)
        model.train(model.training)


def resolve_batch_size(
    arguments: MSERTrainingArguments, model: Any, dataset: EmotionDataset, collator: EmotionCollator
) -> None:
    """
    Halves `per_device_train_batch_size` until the longest clips go through a step, on every process alike.

    The library's `auto_find_batch_size` starts training over when memory runs out, on weights that were trained by
    then; it is switched off here, after its work is done. A run that goes on takes the batch that it began with.

    Args:
        arguments: changed in place.
        model: on its device, in training mode afterwards as before.
        dataset: of the training clips.
        collator: of their batches.

    Raises:
        ValueError: not even a single clip fits, or batches have a fixed composition.
    """
    if arguments.balance == "speaker":
        raise ValueError(
            "auto_find_batch_size and balance speaker are both given, whose batches are speakers_per_batch x "
            "clips_per_speaker clips; leave auto_find_batch_size out"
        )
    asked = arguments.per_device_train_batch_size
    found = recorded_batch_size(arguments.output_dir) if arguments.resume else None
    if found is None:
        longest = max(range(len(dataset.clips)), key=lambda index: dataset.clips[index].seconds)
        item = dataset[longest * dataset.views]
        checkpoint_activations(model, arguments)
        size, failure = _largest(arguments, model, item, collator)
        found = min(gather_object([size]))
        if found == 0:
            raise ValueError(
                f"not even a batch of 1 fits into the memory of {model.device}; give --backbone_dtype bfloat16, "
                "--gradient_checkpointing, or a smaller backbone"
            ) from failure
    arguments.per_device_train_batch_size = found
    arguments.auto_find_batch_size = False
    if arguments.process_index == 0:
        print(f"Batch size: {found}" + ("" if found == asked else f"; the {asked} asked for do not fit"))


def _largest(
    arguments: MSERTrainingArguments, model: Any, item: dict[str, Any], collator: EmotionCollator
) -> tuple[int, Exception | None]:
    """The size that fits, or 0, and why the next larger one does not."""
    size = arguments.per_device_train_batch_size
    failure = None
    while size:
        items = [item] * (size * rows_of_clip(arguments))
        try:
            if model.device.type == "cpu":
                # oneDNN makes no more code in a thread in which it once had no memory for any.
                with ThreadPoolExecutor(1) as thread:
                    thread.submit(_step, arguments, model, items, collator).result()
            else:
                _step(arguments, model, items, collator)
            return size, failure
        except RuntimeError as error:
            if not (should_reduce_batch_size(error) or str(error) in _ONEDNN_FAILURES):
                raise
            failure = error.with_traceback(None)
        # Outside the handler, where the failed step's tensors are no longer held by its traceback.
        model.zero_grad()
        gc.collect()
        clear_device_cache()
        size //= 2
    return 0, failure


def _step(
    arguments: MSERTrainingArguments, model: Any, items: Sequence[dict[str, Any]], collator: EmotionCollator
) -> None:
    """A step's memory: what the optimiser and the average will keep, then forward and backward.

    Where several batches make a step, a second one goes through while the gradients of the first are held.
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
    # Dropout draws as many random numbers as the batch has elements, and training is to draw the same without.
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
