# SPDX-License-Identifier: Apache-2.0
"""Gradient checkpointing through a frozen language model: the same gradients, its layers run twice."""

import torch

from modeling_mser import MSERForEmotionGeneration
from mser_llm.training.compat import enable_activation_checkpointing


def gradients(model: MSERForEmotionGeneration, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    model.zero_grad()
    torch.manual_seed(0)
    model(**batch).loss.backward()
    return {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}


def test_a_frozen_language_model_is_checkpointed_and_gives_the_same_gradients(make_tiny):
    model, processor = make_tiny()
    model.freeze(audio=True, text=True)
    layer = model.language_model.model.layers[0]
    batch = dict(processor.encode_text(2, ["happy", "sad"]))
    width = model.config.audio_config.d_model
    batch |= {"encoder_states": torch.randn(2, len(model.config.used_encoder_layers), 20, width)}
    passes = []
    layer.mlp.register_forward_pre_hook(lambda *_: passes.append(1))

    expected = gradients(model.train(), batch)
    assert len(passes) == 1
    enable_activation_checkpointing(model)
    found = gradients(model.train(), batch)
    assert len(passes) == 1 + 2, "the layer is computed once more in the backward pass"
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient)
    # Frozen dropout stays off.
    assert not layer.self_attn.training
    assert not layer.mlp.training
    model.eval()
    assert not layer.training
