# SPDX-License-Identifier: Apache-2.0
"""Packed layers equal plain ones, and a packed model saves its original weights."""

import copy
import pickle

import numpy as np
import pytest
import torch
from audio_files import noise
from safetensors.torch import load_file
from torch import nn

from modeling_mser import MSERForEmotionGeneration
from mser_llm.inference.loading import load_model
from mser_llm.inference.packing import PackedLinear, can_pack, pack_linear_layers
from mser_llm.inference.recognition import recognize
from processing_mser import label_set


pytestmark = pytest.mark.skipif(not can_pack(), reason="torch is built without oneDNN")
WORDS = label_set("seven").words


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(24,), (1, 24), (3, 5, 24), (2, 0, 24), "strided"])
def test_packed_layer_equals_the_plain_one(shape, bias):
    torch.manual_seed(0)
    linear = nn.Linear(24, 10, bias=bias)
    inputs = torch.randn(24, 6).t()[::2] if shape == "strided" else torch.randn(shape)
    with torch.no_grad():
        torch.testing.assert_close(PackedLinear(linear)(inputs), linear(inputs))


def test_packed_layer_passes_gradients_to_its_input():
    torch.manual_seed(0)
    linear = nn.Linear(24, 10)
    inputs = torch.randn(3, 24, requires_grad=True)
    expected = torch.autograd.grad(linear(inputs).square().sum(), inputs)[0]
    torch.testing.assert_close(torch.autograd.grad(PackedLinear(linear)(inputs).square().sum(), inputs)[0], expected)


def test_packed_layer_stores_its_weight_once_and_exactly():
    linear = nn.Linear(24, 10)
    packed = PackedLinear(linear)
    assert [name for name, _ in packed.named_parameters()] == ["bias"]
    for name, tensor in linear.state_dict().items():
        assert torch.equal(packed.state_dict()[name], tensor)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_packed_layer_can_be_copied_and_pickled(again):
    torch.manual_seed(0)
    packed = PackedLinear(nn.Linear(24, 10))
    inputs = torch.randn(3, 24)
    with torch.no_grad():
        assert torch.equal(again(packed)(inputs), packed(inputs))


def test_packed_layer_converts_between_precisions():
    torch.manual_seed(0)
    linear = nn.Linear(24, 10)
    packed = PackedLinear(linear)
    inputs = torch.randn(3, 24)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(packed(inputs), linear(inputs))
    halved, half = packed.bfloat16(), copy.deepcopy(linear).bfloat16()
    with torch.no_grad():
        assert torch.equal(halved(inputs.bfloat16()), half(inputs.bfloat16()))
        assert torch.equal(copy.deepcopy(halved)(inputs.bfloat16()), half(inputs.bfloat16()))
        back = halved.float()
        assert back.is_packed
        torch.testing.assert_close(back(inputs), half.float()(inputs))


def test_packed_model_rejects_training(tiny_model_dir):
    for quantize in (None, "int8"):
        model, _ = load_model(str(tiny_model_dir), "cpu", quantize=quantize)
        assert not model.train(False).training
        with pytest.raises(RuntimeError, match="from_pretrained"):
            model.train()


def test_packing_skips_tied_and_half_precision_weights():
    network = nn.ModuleDict({"words": nn.Embedding(10, 4), "head": nn.Linear(4, 10), "small": nn.Linear(4, 4)})
    network["head"].weight = network["words"].weight
    network["small"].bfloat16()
    pack_linear_layers(network)
    assert type(network["head"]) is nn.Linear and type(network["small"]) is nn.Linear


def test_packed_model_predicts_and_saves_like_the_plain_one(tiny_model_dir, tmp_path):
    model, processor = load_model(str(tiny_model_dir), "cpu")
    plain = MSERForEmotionGeneration.from_pretrained(tiny_model_dir).eval()
    for part in (model.audio_tower, model.emotion_qformer, model.language_model):
        assert any(isinstance(module, PackedLinear) for module in part.modules())
    clips = list(map(noise, (1.0, 0.4, 2.3)))

    def scores(of):
        return [[result.scores[word] for word in WORDS] for result in recognize(of, processor, clips, WORDS)]

    np.testing.assert_allclose(scores(model), scores(plain), atol=1e-5)
    model.save_pretrained(tmp_path / "again", include_backbones=True)
    saved, kept = load_file(tmp_path / "again" / "model.safetensors"), plain.state_dict()
    assert set(saved) <= set(kept) and len(saved) > len(list(model.named_parameters()))
    for name, tensor in saved.items():
        assert torch.equal(tensor, kept[name]), name
