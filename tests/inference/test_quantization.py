# SPDX-License-Identifier: Apache-2.0
"""Compare int8 with integer arithmetic in numpy, and reject quantization that is not available."""

import numpy as np
import pytest
import torch
from audio_files import noise
from torch import nn

from mser_llm.inference.loading import load_model
from mser_llm.inference.quantization import Int8Linear, check_quantization
from mser_llm.inference.recognition import recognize
from mser_llm.inference.scoring_options import ScoringOptions
from mser_llm.io.errors import InputError
from processing_mser import label_set


WORDS = label_set("seven").words


def in_whole_numbers(rows: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    outputs = np.zeros((len(rows), len(weight)))
    for i, row in enumerate(rows):
        row_unit = np.abs(row).max() / 127
        for j, channel in enumerate(weight):
            unit = np.abs(channel).max() / 127
            outputs[i, j] = int(np.rint(row / row_unit) @ np.rint(channel / unit)) * row_unit * unit + bias[j]
    return outputs


def test_int8_layer_multiplies_with_row_and_channel_scales():
    torch.manual_seed(0)
    linear = nn.Linear(24, 10)
    inputs = torch.randn(2, 3, 24) * torch.tensor([0.01, 1.0, 100.0])[:, None]
    inputs[0, 0] = 0.0
    with torch.no_grad():
        outputs = Int8Linear(linear)(inputs)
        exact = linear(inputs)
    assert outputs.shape == exact.shape and outputs.dtype == torch.float32
    rows = inputs.reshape(-1, 24)[1:].double().numpy()
    expected = in_whole_numbers(rows, linear.weight.detach().double().numpy(), linear.bias.detach().numpy())
    np.testing.assert_allclose(outputs.reshape(-1, 10)[1:].numpy(), expected, rtol=0.02, atol=0.02)
    torch.testing.assert_close(outputs[0, 0], linear.bias.detach())
    error = (outputs - exact).abs().amax(-1) / inputs.abs().amax(-1).clamp(min=0.1)
    assert 0 < error.max() < 0.05


def test_int8_layer_returns_its_rounded_weight():
    torch.manual_seed(0)
    linear = nn.Linear(24, 10)
    weight = Int8Linear(linear).weight
    assert weight.shape == (10, 24)
    assert (weight - linear.weight).abs().max() <= linear.weight.abs().max() / 254 + 1e-6


def test_int8_scores_are_close_and_independent_of_the_batch(tiny_model_dir):
    exact, processor = load_model(str(tiny_model_dir), "cpu")
    model, _ = load_model(str(tiny_model_dir), "cpu", quantize="int8")
    for part in (model.audio_tower, model.language_model):
        kept = [name for name, module in part.named_modules() if type(module) is nn.Linear]
        assert set(kept) <= {"lm_head"}
        assert any(isinstance(module, Int8Linear) for module in part.modules())
    assert not any(isinstance(module, Int8Linear) for module in model.emotion_qformer.modules())

    clips = [scale * noise(seconds) for seconds, scale in ((1.0, 0.1), (0.4, 3.0), (2.3, 1.0))]

    def scores(of, batch_size):
        predictions = recognize(of, processor, clips, WORDS, ScoringOptions(batch_size=batch_size))
        return np.array([[prediction.scores[word] for word in WORDS] for prediction in predictions])

    together = scores(model, 3)
    difference = np.abs(together - scores(exact, 3)).max()
    assert 0 < difference < 0.02
    np.testing.assert_allclose(together, scores(model, 1), atol=2e-3)


@pytest.mark.parametrize(("kind", "device"), [("4bit", "cpu"), ("int8", "cuda"), ("int3", "cpu")])
def test_quantization_for_another_device_is_rejected(kind, device):
    with pytest.raises(InputError) as caught:
        check_quantization(kind, device)
    assert caught.value.source == f"quantize '{kind}'"


def test_int4_without_its_library_is_rejected(monkeypatch):
    monkeypatch.setattr("mser_llm.inference.quantization.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="bitsandbytes"):
        check_quantization("4bit", "cuda")
