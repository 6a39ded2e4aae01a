# SPDX-License-Identifier: Apache-2.0
"""Activation checkpointing: each layer keeps its input alone and runs once more in the backward pass."""

from typing import Any

from mser_llm.training.training_arguments import MSERTrainingArguments


def enable_activation_checkpointing(model: Any, options: dict[str, Any] | None = None) -> None:
    """
    Switches it on under the name that transformers has for it, `gradient_checkpointing_enable` before 5.23.

    Args:
        model: a `PreTrainedModel`.
        options: of `torch.utils.checkpoint.checkpoint`; `use_reentrant=False` if None.
    """
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable(options)


def enable_recipe_activation_checkpointing(model: Any, training: MSERTrainingArguments) -> None:
    """Switches it on where the recipe says so, as the trainer will; a model that has it on already is left alone."""
    checkpointed = any(getattr(module, "gradient_checkpointing", False) for module in model.modules())
    if training.gradient_checkpointing and not checkpointed:
        enable_activation_checkpointing(model, training.gradient_checkpointing_kwargs)
        model.train(model.training)
