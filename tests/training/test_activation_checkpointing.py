# SPDX-License-Identifier: Apache-2.0
"""Activation checkpointing is enabled once, on request, by either method name of transformers."""

from pathlib import Path

import pytest
from torch import nn

from mser_llm.training.batch_size import checkpoint_activations
from mser_llm.training.training_arguments import MSERTrainingArguments


class Checkpointed(nn.Module):
    """A model that records calls of one method."""

    def __init__(self, name: str):
        super().__init__()
        self.calls: list[dict | None] = []
        setattr(self, name, self.calls.append)


@pytest.mark.parametrize("name", ["activation_checkpointing_enable", "gradient_checkpointing_enable"])
def test_activation_checkpointing_accepts_both_names(name: str, tmp_path: Path):
    """transformers before 5.23 has the second name only; later versions warn about it."""
    model = Checkpointed(name)
    options = {"use_reentrant": False}
    asked = MSERTrainingArguments(str(tmp_path), gradient_checkpointing=True, gradient_checkpointing_kwargs=options)
    checkpoint_activations(model, asked)
    assert model.calls == [options]


def test_activation_checkpointing_is_off_by_default(tmp_path: Path):
    model = Checkpointed("activation_checkpointing_enable")
    checkpoint_activations(model, MSERTrainingArguments(str(tmp_path)))
    assert model.calls == []
    model.gradient_checkpointing = True
    checkpoint_activations(model, MSERTrainingArguments(str(tmp_path), gradient_checkpointing=True))
    assert model.calls == []
