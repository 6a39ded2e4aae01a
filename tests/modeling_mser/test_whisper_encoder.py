# SPDX-License-Identifier: Apache-2.0
"""The masked encoder equals stock Whisper without padding, and ignores padding and the batch."""

import pytest
import torch
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from modeling_mser import MaskedWhisperEncoder


def build(depth: int = 3, positions: int = 1500) -> tuple[WhisperEncoder, MaskedWhisperEncoder]:
    torch.manual_seed(0)
    sizes = {"d_model": 32, "encoder_attention_heads": 4, "encoder_ffn_dim": 64, "num_mel_bins": 20}
    config = WhisperConfig(**sizes, encoder_layers=depth, max_source_positions=positions)
    stock = WhisperEncoder(config).eval()
    with torch.no_grad():
        for parameter in stock.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    masked = MaskedWhisperEncoder(config).eval()
    masked.load_state_dict(stock.state_dict())
    return stock, masked


@torch.no_grad()
def test_full_length_is_bit_equal_to_stock():
    stock, masked = build()
    features = torch.randn(2, 20, 3000)
    expected = stock(features).last_hidden_state
    mask = torch.ones(2, 3000, dtype=torch.bool)
    assert torch.equal(masked(features, mask).last_hidden_state, expected)
    layers = stock(features, output_hidden_states=True).hidden_states
    found = masked(features, output_layers=(0, 1, 2, 3)).hidden_states
    for layer in range(3):
        assert torch.equal(found[layer], layers[layer])
    assert torch.equal(found[3], expected)


@torch.no_grad()
@pytest.mark.parametrize("length", [10, 98, 302])
def test_short_clip_equals_stock_with_cropped_positions(length: int):
    stock, masked = build()
    positions = length // 2
    features = torch.randn(1, 20, length)
    cut, _ = build(positions=positions)
    state = stock.state_dict()
    state["embed_positions.weight"] = state["embed_positions.weight"][:positions]
    cut.load_state_dict(state)
    expected = cut(features).last_hidden_state
    found = masked(features, torch.ones(1, length, dtype=torch.bool)).last_hidden_state
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("lengths", [(97, 98, 300), (11, 2999)])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_output_depends_neither_on_batch_nor_padding(lengths: tuple[int, ...], attention: str):
    _, masked = build()
    masked.set_attn_implementation(attention)
    clips = [torch.randn(20, length) for length in lengths]
    frames = max(lengths) if max(lengths) == 2999 else max(lengths) + 7
    # Noise in the padding must not matter.
    batch = 100 * torch.randn(len(clips), 20, frames)
    for row, clip in zip(batch, clips, strict=True):
        row[:, : clip.shape[1]] = clip
    mask = torch.arange(frames) < torch.tensor(lengths)[:, None]
    layers = (0, 1, 2, 3)
    together = masked(batch, mask, output_layers=layers).hidden_states
    for row, clip in enumerate(clips):
        alone = masked(clip[None], torch.ones(1, clip.shape[1], dtype=torch.bool), output_layers=layers).hidden_states
        for layer in layers:
            kept = together[layer][row : row + 1, : alone[layer].shape[1]]
            torch.testing.assert_close(kept, alone[layer], atol=1e-5, rtol=0)
    assert masked.output_mask(mask).sum(1).tolist() == [(length + 1) // 2 for length in lengths]


@torch.no_grad()
def test_layers_past_the_deepest_output_are_not_run():
    _, masked = build(depth=3)
    ran = []
    for index, layer in enumerate(masked.layers):
        layer.register_forward_hook(lambda *_, index=index: ran.append(index))
    masked(torch.randn(1, 20, 100), output_layers=(1, 2))
    assert ran == [0, 1]


def test_audio_longer_than_the_positions_is_rejected():
    _, masked = build(positions=50)
    with pytest.raises(ValueError, match=r"101.*100"):
        masked(torch.randn(1, 20, 101))
