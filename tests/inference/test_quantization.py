# SPDX-License-Identifier: Apache-2.0
"""int8 against arithmetic in whole numbers by numpy, and what is refused before a model is loaded."""

import numpy as np
import pytest
import torch
from torch import nn

import run_mser
from mser_llm.inference.deferred_model import DeferredModel
from mser_llm.inference.loading import load_model
from mser_llm.inference.quantization import Int8Linear, check_quantization
from mser_llm.inference.recognition import recognize
from mser_llm.inference.scoring_options import ScoringOptions
from processing_mser import SAMPLING_RATE, label_set


WORDS = label_set("seven").words


def in_whole_numbers(rows: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    outputs = np.zeros((len(rows), len(weight)))
    for i, row in enumerate(rows):
        row_unit = np.abs(row).max() / 127
        for j, channel in enumerate(weight):
            unit = np.abs(channel).max() / 127
            outputs[i, j] = int(np.rint(row / row_unit) @ np.rint(channel / unit)) * row_unit * unit + bias[j]
    return outputs


def test_a_layer_multiplies_whole_numbers_with_a_scale_for_each_row_and_channel():
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


def test_a_network_that_multiplies_by_the_weight_itself_gets_it_as_rounded():
    torch.manual_seed(0)
    linear = nn.Linear(24, 10)
    weight = Int8Linear(linear).weight
    assert weight.shape == (10, 24)
    assert (weight - linear.weight).abs().max() <= linear.weight.abs().max() / 254 + 1e-6


def clips() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [scale * random.standard_normal(int(s * SAMPLING_RATE)).astype(np.float32)
            for s, scale in ((1.0, 0.01), (0.4, 0.3), (2.3, 0.1))]  # fmt: skip


def test_a_model_in_int8_answers_nearly_the_same_and_whatever_the_company(tiny_model_dir):
    exact, processor = load_model(str(tiny_model_dir), "cpu")
    model, _ = load_model(str(tiny_model_dir), "cpu", quantize="int8")
    for part in (model.audio_tower, model.language_model):
        kept = [name for name, module in part.named_modules() if type(module) is nn.Linear]
        assert set(kept) <= {"lm_head"}
        assert any(isinstance(module, Int8Linear) for module in part.modules())
    assert not any(isinstance(module, Int8Linear) for module in model.emotion_qformer.modules())

    def scores(of, batch_size):
        answers = recognize(of, processor, clips(), WORDS, ScoringOptions(batch_size=batch_size))
        return np.array([[answer.scores[word] for word in WORDS] for answer in answers])

    together = scores(model, 3)
    difference = np.abs(together - scores(exact, 3)).max()
    assert 0 < difference < 0.02
    np.testing.assert_allclose(together, scores(model, 1), atol=2e-3)


def test_answers_in_int8_are_kept_apart(tiny_model_dir):
    plain, quantised = (DeferredModel(str(tiny_model_dir), "cpu", kind) for kind in (None, "int8"))
    assert plain.fingerprint != quantised.fingerprint


@pytest.mark.parametrize(
    ("kind", "device", "message"),
    [
        ("4bit", "cpu", "4bit needs a CUDA device and the device is cpu"),
        ("int8", "cuda", "int8 is for the CPU and the device is cuda"),
        ("int3", "cpu", "quantize is 'int3'; choose int8 or 4bit"),
    ],
)
def test_what_this_device_cannot_do_is_refused(kind, device, message):
    with pytest.raises(ValueError, match=message):
        check_quantization(kind, device)


def test_four_bits_without_their_library_name_it(monkeypatch):
    monkeypatch.setattr("mser_llm.inference.quantization.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"needs bitsandbytes; pip install \"mser-llm\[quantization\]\""):
        check_quantization("4bit", "cuda")


def test_the_command_refuses_in_one_line(tiny_model_dir, tmp_path, capsys):
    clip = tmp_path / "clip.wav"
    clip.write_bytes(b"never read")
    words = ["predict", str(clip), "--model", str(tiny_model_dir), "--device", "cpu", "--quantize", "4bit"]
    assert run_mser.main(words) == 2
    assert capsys.readouterr().err == (
        "run-mser: error: 4bit needs a CUDA device and the device is cpu; give --quantize int8, or leave it out\n"
    )
