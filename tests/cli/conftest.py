# SPDX-License-Identifier: Apache-2.0
"""A saved encoder for commands that need one."""

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
