# SPDX-License-Identifier: Apache-2.0
"""Recipes of BYOL over a tiny Whisper."""

import json
from pathlib import Path

import pytest

from mser_llm.cli.parser import MSERArgumentParser
from mser_llm.cli.train import ARGUMENTS


@pytest.fixture
def recipe_file(tmp_path: Path, tiny_whisper: Path):
    """Return a function that writes a recipe with additional settings and returns its path."""

    def write(**more) -> Path:
        lines = {
            "model_type": "whisper_classifier", "audio_backbone": str(tiny_whisper), "trained_layers": 1,
            "labels": "neutral,happy,sad,angry", "labelled_languages": ["en"], "validation_fraction": 0.34,
            "output_dir": str(tmp_path / "run"), "cache_dir": str(tmp_path / "cache"), "head_size": 16,
            "learning_rate": 0.01, "num_train_epochs": 2, "epoch_batches": 4, "per_device_train_batch_size": 8,
            "balance": "source", "logging_steps": 1, "time_masks": 1, "time_width": 3, "channel_masks": 1,
            "channel_width": 4, "use_cpu": True, "disable_tqdm": True,
            "objectives": {"byol": {"hidden_size": 16, "projection_size": 8, "momentum": 0.9}},
            **more,
        }  # fmt: skip
        path = tmp_path / "recipe.yaml"
        path.write_text(json.dumps(lines))
        return path

    return write


@pytest.fixture
def recipe(recipe_file):
    """Return a parser of such a recipe."""

    def parse(**more) -> tuple:
        _, *arguments = MSERArgumentParser(ARGUMENTS).parse_args_into_dataclasses([str(recipe_file(**more))])
        return tuple(arguments)

    return parse
