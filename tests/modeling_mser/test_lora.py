# SPDX-License-Identifier: Apache-2.0
"""Adapters of the language model: training, saving, loading, merging."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from modeling_mser import BackboneError, MSERForEmotionGeneration
from modeling_mser.file_digests_mser import MODEL_DIGESTS, write_digests


pytest.importorskip("peft")
ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]}


@torch.no_grad()
def logits(model: MSERForEmotionGeneration) -> torch.Tensor:
    torch.manual_seed(0)
    return model.language_model(inputs_embeds=torch.randn(2, 6, model.config.text_config.hidden_size)).logits


@torch.no_grad()
def with_random_adapters(model: MSERForEmotionGeneration) -> MSERForEmotionGeneration:
    """Set adapters that change the output, as after training."""
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.copy_(torch.randn_like(parameter))
    return model


@pytest.fixture(params=["backbone", "checkpoint"])
def model(request, small, tiny) -> MSERForEmotionGeneration:
    return small if request.param == "backbone" else tiny[0]


def test_add_lora_keeps_outputs_and_trains_adapters_only(model):
    before = logits(model)
    model.freeze(audio=True)
    model.add_lora(**SETTINGS)
    torch.testing.assert_close(logits(model), before)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    of_language_model = {name for name in trained if name.startswith("language_model.")}
    assert of_language_model and all("lora_" in name for name in of_language_model)
    assert {name.split(".")[0] for name in trained} == {"language_model", "emotion_qformer", "projection"}
    with pytest.raises(ValueError, match="adapters"):
        model.add_lora(**SETTINGS)


def test_adapter_dropout_is_active_in_a_frozen_language_model(small):
    small.add_lora(**SETTINGS, lora_dropout=0.5)
    small.train()
    assert not small.language_model.training
    assert not torch.equal(logits(with_random_adapters(small)), small.eval() and logits(small))


IMPORTED = """
import sys
import torch
from modeling_mser import MSERForEmotionGeneration

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "peft.tuners":  # transformers also looks for peft itself
            print("peft imported on", torch.empty(0).device)

sys.meta_path.insert(0, Watch())
for folder in sys.argv[1:]:
    MSERForEmotionGeneration.from_pretrained(folder)
    print("loaded")
"""


def test_peft_is_imported_only_for_adapters_and_outside_meta_device(tiny, tmp_path: Path):
    model, _ = tiny
    model.save_pretrained(tmp_path / "without")
    model.add_lora(**SETTINGS)
    model.save_pretrained(tmp_path / "with")
    command = [sys.executable, "-c", IMPORTED, str(tmp_path / "without"), str(tmp_path / "with")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["loaded", "peft imported on cpu", "loaded"]


def test_saved_and_merged_adapters_give_the_same_outputs(model, tmp_path: Path):
    plain = logits(model)
    model.add_lora(**SETTINGS)
    expected = logits(with_random_adapters(model))
    assert (expected - plain).abs().max() > 1e-2
    model.save_pretrained(tmp_path / "adapted")
    loaded = MSERForEmotionGeneration.from_pretrained(tmp_path / "adapted")
    assert torch.equal(logits(loaded), expected)
    assert all(p.requires_grad for name, p in loaded.named_parameters() if "lora_" in name)
    loaded.merge_lora()
    torch.testing.assert_close(logits(loaded), expected, atol=1e-5, rtol=1e-5)
    loaded.save_pretrained(tmp_path / "merged")
    names = set(load_file(tmp_path / "merged" / "model.safetensors"))
    assert "language_model.lm_head.weight" in names and not [name for name in names if "lora" in name]
    merged = MSERForEmotionGeneration.from_pretrained(tmp_path / "merged")
    assert merged.config.lora is None
    # The id is kept, because the backbone's license applies.
    assert merged.config.text_backbone == model.config.text_backbone
    torch.testing.assert_close(logits(merged), expected, atol=1e-5, rtol=1e-5)


def test_adapters_stay_float32_in_a_bfloat16_language_model(model, tmp_path: Path):
    model.language_model.to(torch.bfloat16)
    model.add_lora(**SETTINGS)
    adapters = {name: value for name, value in with_random_adapters(model).named_parameters() if "lora_" in name}
    model.save_pretrained(tmp_path)
    for options in ({}, {"dtype": torch.bfloat16}):
        loaded = dict(MSERForEmotionGeneration.from_pretrained(tmp_path, **options).named_parameters())
        for name, value in adapters.items():
            assert loaded[name].dtype == torch.float32 and torch.equal(loaded[name], value)
        assert loaded["language_model.lm_head.weight"].dtype == torch.bfloat16


def test_checkpoint_contains_only_adapters_of_the_language_model(small, tmp_path: Path):
    small.add_lora(**SETTINGS)
    small.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    of_language_model = [name for name in weights if name.startswith("language_model.")]
    assert len(of_language_model) == 4 and all("lora_" in name for name in of_language_model)
    del weights[of_language_model[0]]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    write_digests(tmp_path, MODEL_DIGESTS)
    with pytest.raises(BackboneError, match=r"language_model.*lora_"):
        MSERForEmotionGeneration.from_pretrained(tmp_path)


def test_unknown_target_module_is_named(small):
    with pytest.raises(ValueError, match="no_such_layer"):
        small.add_lora(r=4, target_modules=["no_such_layer"])
    with pytest.raises(ValueError, match="adapters"):
        small.merge_lora()


@pytest.mark.parametrize("bits", [4, 8])
def test_quantization_applies_to_the_language_model_only(small, tmp_path: Path, bits: int):
    bitsandbytes = pytest.importorskip("bitsandbytes")
    from transformers import BitsAndBytesConfig

    quantization = BitsAndBytesConfig(load_in_4bit=bits == 4, load_in_8bit=bits == 8)
    small.save_pretrained(tmp_path / "saved")
    loaded = MSERForEmotionGeneration.from_pretrained(tmp_path / "saved", quantization_config=quantization)
    layer = bitsandbytes.nn.Linear4bit if bits == 4 else bitsandbytes.nn.Linear8bitLt
    assert any(isinstance(module, layer) for module in loaded.language_model.modules())
    for part in (loaded.emotion_qformer, loaded.projection, loaded.audio_tower):
        assert {parameter.dtype for parameter in part.parameters()} == {torch.float32}
    np.testing.assert_allclose(logits(loaded), logits(small), atol=0.05)
    # Quantization is not saved.
    loaded.save_pretrained(tmp_path / "again")
    assert "quantization_config" not in (tmp_path / "again" / "config.json").read_text()
    assert torch.equal(logits(MSERForEmotionGeneration.from_pretrained(tmp_path / "again")), logits(small))
    with pytest.raises(ValueError, match="include_backbones"):
        loaded.save_pretrained(tmp_path / "complete", include_backbones=True)
