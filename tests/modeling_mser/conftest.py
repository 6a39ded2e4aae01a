# SPDX-License-Identifier: Apache-2.0
"""Tiny backbones, and a model over them."""

from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, WhisperConfig, WhisperForConditionalGeneration

from modeling_mser import MSERForEmotionGeneration


@pytest.fixture
def backbones(tmp_path: Path) -> tuple[Path, Path]:
    """Save a complete tiny Whisper and a tiny LLaMA as the Hub has them."""
    torch.manual_seed(3)
    sizes = {"d_model": 32, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "num_mel_bins": 20, "vocab_size": 60}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_layers": 2, "decoder_layers": 1}
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
    whisper = WhisperForConditionalGeneration(WhisperConfig(**sizes, **heads, **special))
    whisper.save_pretrained(tmp_path / "whisper")
    llama = LlamaConfig(
        hidden_size=64, intermediate_size=128, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=4,
        vocab_size=400,
    )  # fmt: skip
    LlamaForCausalLM(llama).save_pretrained(tmp_path / "llama")
    return tmp_path / "whisper", tmp_path / "llama"


@pytest.fixture
def small(backbones: tuple[Path, Path]) -> MSERForEmotionGeneration:
    """Build a model from these two."""
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    audio, text = map(str, backbones)
    return MSERForEmotionGeneration.from_backbones(audio, text, qformer_config=sizes, num_query_tokens=4).eval()
