# SPDX-License-Identifier: Apache-2.0
"""A saved encoder and a model with a training record for commands that need one."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Whisper with random weights, which still distinguishes pitch."""
    folder = tmp_path_factory.mktemp("whisper")
    sizes = {"d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 64}
    config = WhisperConfig(**sizes, num_mel_bins=20, decoder_layers=1, decoder_attention_heads=2, vocab_size=60_000)
    WhisperModel(config).save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=20).save_pretrained(folder)
    return folder


@pytest.fixture
def trained_on(tiny_model_dir: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that returns a model trained on a speaker of `folder`."""

    def model(speaker: str) -> Path:
        folder = shutil.copytree(tiny_model_dir, tmp_path / "model")
        record = {"speakers": [speaker], "recordings": [], "corpora": ["folder"], "languages": ["de"]}
        (folder / "train_results.json").write_text(json.dumps({"data": {"heard": record}}), encoding="utf-8")
        return folder

    return model
