# SPDX-License-Identifier: Apache-2.0
"""The line before a long training."""

import re
from pathlib import Path

import pytest
from transformers import WhisperConfig

from mser_llm.data.clips import Clip
from mser_llm.training.arguments import DataArguments, ModelArguments, MSERTrainingArguments
from mser_llm.training.planning import before_training
from mser_llm.training.planning.before_training import tell_plan


def test_a_model_is_planned_by_what_it_hears_of_a_clip(tmp_path: Path, capsys: pytest.CaptureFixture):
    """A classifier crops what is longer than its positions, and has none for more."""
    WhisperConfig(d_model=16, encoder_layers=1, encoder_attention_heads=2, encoder_ffn_dim=32).save_pretrained(
        tmp_path
    )
    model = ModelArguments(model_type="whisper_classifier", audio_backbone=str(tmp_path), max_seconds=3.0)
    training = MSERTrainingArguments(output_dir=str(tmp_path), use_cpu=True, contrast_weight=0)
    told = []
    for seconds in (3.0, 9.0):
        tell_plan(model, DataArguments(), training, [Clip({}, "sad", "key", seconds)] * 5000, [], num_processes=1)
        told.append(re.search(r"Fits: \d+ MB", capsys.readouterr().out))
    assert told[0] and told[1] and told[0][0] == told[1][0]


@pytest.mark.parametrize("said", ["weights without\n  data", ""])
def test_a_plan_that_cannot_be_made_stops_no_training(
    said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    def fail(*_, **__):
        raise RuntimeError(said)

    monkeypatch.setattr(before_training, "build_skeleton", fail)
    training = MSERTrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    tell_plan(ModelArguments(), DataArguments(), training, [Clip({}, "sad", "key", 3.0)] * 5000, [], num_processes=1)
    why = "RuntimeError: weights without data" if said else "RuntimeError"
    assert capsys.readouterr().out == f"Not planned, and trained all the same: {why}\n"


@pytest.mark.parametrize(
    ("said", "is_long"),
    [
        ({}, False),
        ({"balance": "none"}, True),
        ({"epoch_batches": 625}, True),
        ({"max_steps": 10}, False),
        ({"max_steps": 63, "gradient_accumulation_steps": 10}, True),
    ],
)
def test_a_training_is_long_by_what_it_shows(said: dict, is_long: bool, tmp_path: Path, capsys: pytest.CaptureFixture):
    """A thousand clips in five views each, once, in batches of eight."""
    training = MSERTrainingArguments(output_dir=str(tmp_path), use_cpu=True, num_train_epochs=1, **said)
    clips = [Clip({}, "sad", "key", 3.0)] * 1000
    tell_plan(ModelArguments(), DataArguments(views=5), training, clips, [], num_processes=1)
    assert bool(capsys.readouterr().out) == is_long
