# SPDX-License-Identifier: Apache-2.0
"""Describe a model's backbones, with and without a training record."""

import json
from pathlib import Path
from typing import Any

import pytest

from mser_llm.reproduction.formatting import format_backbones


MSER = {
    "model_type": "mser",
    "encoder_layers": "weighted",
    "audio_backbone": "openai/whisper-base",
    "freeze_audio": True,
    "text_config": {},
    "text_backbone": None,
    "freeze_text": False,
    "lora": None,
}
WAV2VEC2 = {"model_type": "wav2vec2_classifier", "encoder_layers": [3, 7], "audio_backbone": "/models/xlsr"}
WHISPER = {"model_type": "whisper_classifier", "max_seconds": 4.0, "audio_backbone": "/models/whisper-base"}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (MSER, "whisper-base (frozen), layers weighted; LLaMA from scratch"),
        (
            MSER | {"freeze_audio": False, "text_backbone": "owner/llama", "freeze_text": True},
            "whisper-base, layers weighted; llama (frozen)",
        ),
        # Adapters change the predictions of a frozen language model.
        (
            MSER | {"text_backbone": "owner/llama", "freeze_text": True, "lora": {"r": 8}},
            "whisper-base (frozen), layers weighted; llama",
        ),
        (MSER | {"audio_backbone": None}, "encoder from scratch, layers weighted; LLaMA from scratch"),
        (WAV2VEC2, "xlsr (frozen), layer 3, 7; classifier"),
        (WHISPER | {"trained_layers": None}, "whisper-base, 4 s; classifier"),
        (WHISPER | {"trained_layers": 0}, "whisper-base (frozen), 4 s; classifier"),
    ],
)
def test_format_backbones_without_record_uses_the_config(config: dict[str, Any], expected: str, tmp_path: Path):
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert format_backbones(tmp_path) == expected
    # The first records have speakers and no sizes.
    (tmp_path / "train_results.json").write_text('{"speakers": []}', encoding="utf-8")
    assert format_backbones(tmp_path) == expected


def test_format_backbones_uses_the_training_record(tmp_path: Path):
    (tmp_path / "config.json").write_text(json.dumps(MSER), encoding="utf-8")
    counts = {"audio_tower": (20_600_000, 0), "language_model": (400_000, 400_000)}
    parameters = {part: {"parameters": count, "trained": trained} for part, (count, trained) in counts.items()}
    (tmp_path / "train_results.json").write_text(json.dumps({"parameters": parameters}), encoding="utf-8")
    assert format_backbones(tmp_path) == (
        "whisper-base (20.6 M, frozen), layers weighted; LLaMA of 0.4 M from scratch"
    )
