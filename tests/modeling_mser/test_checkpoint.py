# SPDX-License-Identifier: Apache-2.0
"""Checkpoints without their backbones: small, complete after loading, verified."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, LlamaForCausalLM

from modeling_mser import BackboneError, ModifiedFilesError, MSERForEmotionGeneration


ROOT = Path(__file__).resolve().parents[2]
SIZES = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}


@pytest.fixture
def saved(small, tmp_path: Path) -> Path:
    """Checkpoint of `small` without its backbones."""
    small.save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def build(backbones, **options) -> MSERForEmotionGeneration:
    options = {"qformer_config": SIZES, "num_query_tokens": 4} | options
    return MSERForEmotionGeneration.from_backbones(*map(str, backbones), **options)


def rewrite(file: Path, change) -> None:
    weights = load_file(file)
    change(weights)
    save_file({name: value.contiguous() for name, value in weights.items()}, file, metadata={"format": "pt"})


def flip_bit(file: Path, position: int, bit: int = 6) -> None:
    content = bytearray(file.read_bytes())
    content[position] ^= 1 << bit
    file.write_bytes(content)


def test_checkpoint_omits_backbones_and_loads_them_again(backbones, small, saved, tmp_path: Path):
    audio, text = (load_file(folder / "model.safetensors") for folder in backbones)
    assert torch.equal(small.audio_tower.conv1.weight, audio["model.encoder.conv1.weight"])
    assert torch.equal(small.language_model.lm_head.weight, text["lm_head.weight"])
    keys = set(load_file(saved / "model.safetensors"))
    assert keys and all(key.startswith(("emotion_qformer.", "projection.")) for key in keys)
    loaded = MSERForEmotionGeneration.from_pretrained(saved)
    for name, tensor in small.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name

    small.save_pretrained(tmp_path / "complete", include_backbones=True)
    assert not small.config.includes_backbones
    for folder in backbones:
        shutil.rmtree(folder)
    complete = MSERForEmotionGeneration.from_pretrained(tmp_path / "complete")
    assert torch.equal(complete.audio_tower.conv1.weight, small.audio_tower.conv1.weight)


def test_missing_backbone_is_an_error_that_another_path_fixes(backbones, saved, tmp_path: Path):
    moved = shutil.move(backbones[0], tmp_path / "moved")
    with pytest.raises(BackboneError) as caught:
        MSERForEmotionGeneration.from_pretrained(saved)
    assert caught.value.source == str(backbones[0]) and "audio_backbone=" in caught.value.fix
    loaded = MSERForEmotionGeneration.from_pretrained(saved, audio_backbone=str(moved))
    assert loaded.config.audio_backbone == str(moved)


def test_incomplete_or_reshaped_backbone_is_rejected(backbones, saved):
    file = backbones[0] / "model.safetensors"
    rewrite(file, lambda weights: weights.pop("model.encoder.conv2.weight"))
    with pytest.raises(BackboneError, match=r"model\.safetensors"):
        MSERForEmotionGeneration.from_pretrained(saved)
    with pytest.raises(BackboneError, match=r"conv2\.weight"):
        MSERForEmotionGeneration.from_pretrained(saved, accept_other_backbones=True)
    rewrite(file, lambda weights: weights.update({"model.encoder.conv2.weight": torch.zeros(16, 32, 3)}))
    with pytest.raises(BackboneError, match=r"conv2\.weight .*\(16, 32, 3\).*\(32, 32, 3\)"):
        MSERForEmotionGeneration.from_pretrained(saved, accept_other_backbones=True)


@pytest.mark.parametrize("name", ["language_model.lm_head.weight", "emotion_qformer.query_tokens", "projection.bias"])
@pytest.mark.parametrize("damage", ["missing", "reshaped"])
def test_missing_or_reshaped_weight_of_checkpoint_is_named(tiny, tmp_path: Path, name: str, damage: str):
    tiny[0].save_pretrained(tmp_path)
    change = {"missing": lambda weights: weights.pop(name), "reshaped": lambda w: w.update({name: w[name][1:]})}
    if damage == "reshaped" and name == "emotion_qformer.query_tokens":
        change["reshaped"] = lambda w: w.update({name: w[name][:, 1:]})
    rewrite(tmp_path / "model.safetensors", change[damage])
    with pytest.raises(ModifiedFilesError, match=r"model\.safetensors"):
        MSERForEmotionGeneration.from_pretrained(tmp_path)
    with pytest.raises(BackboneError, match=name), pytest.warns(match=r"model\.safetensors"):
        MSERForEmotionGeneration.from_pretrained(tmp_path, accept_modified_files=True)


def test_pickled_weights_are_rejected(tiny, tmp_path: Path):
    tiny[0].save_pretrained(tmp_path)
    torch.save(load_file(tmp_path / "model.safetensors"), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ModifiedFilesError, match=r"model\.safetensors"):
        MSERForEmotionGeneration.from_pretrained(tmp_path)
    with pytest.raises((OSError, ValueError), match=r"model\.safetensors"), pytest.warns():
        MSERForEmotionGeneration.from_pretrained(tmp_path, accept_modified_files=True)


def test_all_backbones_are_verified_before_one_is_loaded(backbones, saved, monkeypatch):
    flip_bit(backbones[1] / "model.safetensors", -10)
    monkeypatch.setattr(MSERForEmotionGeneration, "load_audio", lambda *_, **__: pytest.fail("loaded"))
    with pytest.raises(BackboneError) as caught:
        MSERForEmotionGeneration.from_pretrained(saved)
    assert caught.value.source == str(backbones[1])


def test_from_backbones_never_builds_random_weights(backbones, monkeypatch: pytest.MonkeyPatch):
    """A language model of 8 billion parameters would take 32 GB more, and minutes."""
    monkeypatch.setattr(AutoModelForCausalLM, "from_config", lambda *_, **__: pytest.fail("random weights"))
    model = build(backbones)
    stored = load_file(backbones[1] / "model.safetensors")
    assert torch.equal(model.language_model.lm_head.weight, stored["lm_head.weight"])
    assert model.config.freeze_text and not any(value.requires_grad for value in model.language_model.parameters())


def test_other_backbone_of_the_same_shape_must_be_accepted(backbones, small, saved, tmp_path: Path):
    other = tmp_path / "other"
    LlamaForCausalLM(small.config.text_config).save_pretrained(other)
    with pytest.raises(BackboneError) as caught:
        MSERForEmotionGeneration.from_pretrained(saved, text_backbone=str(other))
    assert caught.value.source == str(other) and "accept_other_backbones" in caught.value.fix
    loaded = MSERForEmotionGeneration.from_pretrained(saved, text_backbone=str(other), accept_other_backbones=True)
    expected = load_file(other / "model.safetensors")["lm_head.weight"]
    assert torch.equal(loaded.language_model.lm_head.weight, expected)
    # A checkpoint of this model requires the accepted backbone.
    loaded.save_pretrained(tmp_path / "again")
    MSERForEmotionGeneration.from_pretrained(tmp_path / "again")
    shutil.rmtree(backbones[1])
    shutil.copytree(other, backbones[1])
    with pytest.raises(BackboneError):
        MSERForEmotionGeneration.from_pretrained(saved)


def test_auto_classes_drop_the_revision_of_a_replaced_backbone(backbones, small, tmp_path: Path):
    small.config.text_backbone_revision = "0123abc"
    small.save_pretrained(tmp_path / "saved")
    other = str(shutil.copytree(backbones[1], tmp_path / "other"))
    for revision in ({}, {"text_backbone_revision": "main"}):
        config = AutoModel.from_pretrained(tmp_path / "saved", text_backbone=other, **revision).config
        expected = (other, revision.get("text_backbone_revision"))
        assert (config.text_backbone, config.text_backbone_revision) == expected
    config = AutoConfig.from_pretrained(tmp_path / "saved", text_backbone=other)  # as `pipeline` reads it first
    assert (config.text_backbone, config.text_backbone_revision) == (other, None)
    same = AutoModel.from_pretrained(tmp_path / "saved", text_backbone=str(backbones[1]))
    assert same.config.text_backbone_revision == "0123abc"


def test_backbone_in_half_precision_and_shards_is_accepted(backbones, small, saved):
    half = LlamaForCausalLM.from_pretrained(backbones[1], dtype=torch.bfloat16)
    half.save_pretrained(backbones[1], max_shard_size="40KB")
    assert len(list(backbones[1].glob("*.safetensors"))) > 1
    loaded = MSERForEmotionGeneration.from_pretrained(saved)
    torch.testing.assert_close(
        loaded.language_model.lm_head.weight, small.language_model.lm_head.weight, atol=1e-3, rtol=1e-2
    )


def test_complete_checkpoint_rejects_other_backbones(tiny, small, tmp_path: Path):
    for model in (tiny[0], small):
        model.save_pretrained(tmp_path, include_backbones=True)
        for loader in (AutoModel, MSERForEmotionGeneration):
            with pytest.raises(BackboneError) as caught:
                loader.from_pretrained(tmp_path, audio_backbone="openai/whisper-tiny")
            assert caught.value.source == str(tmp_path) and "audio_backbone" in caught.value.fix


def test_saving_again_keeps_the_choice_of_backbones(small, tmp_path: Path):
    for included in (True, False):
        first, again = tmp_path / f"first-{included}", tmp_path / f"again-{included}"
        small.save_pretrained(first, include_backbones=included)
        MSERForEmotionGeneration.from_pretrained(first).save_pretrained(again)
        assert set(load_file(first / "model.safetensors")) == set(load_file(again / "model.safetensors"))
        for folder in (first, again):
            assert json.loads((folder / "config.json").read_text())["includes_backbones"] == included


def test_dtype_device_map_and_attention_apply_to_backbones(saved, tmp_path: Path, monkeypatch):
    # PyPI's PyTorch names an accelerator even on a machine without one.
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    loaded = MSERForEmotionGeneration.from_pretrained(
        saved, dtype=torch.bfloat16, device_map="auto", attn_implementation="eager"
    )
    assert loaded.language_model.lm_head.weight.dtype == loaded.audio_tower.conv1.weight.dtype == torch.bfloat16
    assert {parameter.dtype for parameter in loaded.emotion_qformer.parameters()} == {torch.float32}
    assert {parameter.device.type for parameter in loaded.parameters()} == {"cpu"}
    for part in (loaded.language_model, loaded.audio_tower, loaded.emotion_qformer.qformer):
        assert part.config._attn_implementation == "eager"
    # How it was loaded is not saved.
    loaded.save_pretrained(tmp_path / "again")
    assert MSERForEmotionGeneration.from_pretrained(tmp_path / "again", dtype=torch.float32).dtype == torch.float32
    old_name = MSERForEmotionGeneration.from_pretrained(saved, torch_dtype="bfloat16")
    assert {old_name.audio_tower.dtype, old_name.language_model.dtype} == {torch.bfloat16}


@torch.no_grad()
def perturb(module: torch.nn.Module) -> None:
    for parameter in module.parameters():
        parameter.add_(0.3 * torch.randn_like(parameter))


@pytest.mark.parametrize("part", ["audio", "text"])
def test_backbone_trained_before_freezing_is_saved(backbones, tmp_path: Path, part: str):
    trained = build(backbones, **{f"freeze_{part}": False})
    name = {"audio": "audio_tower", "text": "language_model"}[part]
    perturb(getattr(trained, name))
    trained.save_pretrained(tmp_path / "first")
    second = MSERForEmotionGeneration.from_pretrained(tmp_path / "first")
    second.freeze(**{part: True})
    for folder in ("second", "third"):
        second.save_pretrained(tmp_path / folder)
        second = MSERForEmotionGeneration.from_pretrained(tmp_path / folder)
        assert getattr(second.config, f"{part}_backbone") == str(backbones[part == "text"])
        weights = getattr(second, name).state_dict()
        for key, value in getattr(trained, name).state_dict().items():
            assert torch.equal(weights[key], value), key


def test_each_part_keeps_the_dtype_it_was_saved_in(backbones, tmp_path: Path):
    trained = build(backbones, dtype=torch.bfloat16, freeze_text=False)
    trained.language_model.float()
    perturb(trained.language_model)
    for include in (False, True):
        trained.save_pretrained(tmp_path, include_backbones=include)
        for _ in range(2):
            loaded = MSERForEmotionGeneration.from_pretrained(tmp_path)
            assert {value.dtype for value in loaded.audio_tower.parameters()} == {torch.bfloat16}
            assert {value.dtype for value in loaded.language_model.parameters()} == {torch.float32}
            assert torch.equal(loaded.language_model.lm_head.weight, trained.language_model.lm_head.weight)
            loaded.save_pretrained(tmp_path)


def test_memory_limit_distributes_the_language_model(small, saved, tmp_path: Path):
    limits = {"max_memory": {"cpu": 300_000}, "offload_folder": str(tmp_path / "rest")}
    loaded = MSERForEmotionGeneration.from_pretrained(saved, device_map="auto", **limits)
    assert set(loaded.hf_device_map.values()) == {"cpu", "disk"}
    embeds = torch.randn(1, 3, 64)
    expected = small.language_model(inputs_embeds=embeds).logits
    torch.testing.assert_close(loaded.language_model(inputs_embeds=embeds).logits, expected)


def test_resized_language_model_is_saved(small, tmp_path: Path):
    small.resize_token_embeddings(410)
    small.save_pretrained(tmp_path)
    loaded = MSERForEmotionGeneration.from_pretrained(tmp_path)
    assert torch.equal(loaded.get_input_embeddings().weight, small.get_input_embeddings().weight)


UNREACHABLE = """
import sys, time
import huggingface_hub
from modeling_mser import BackboneError, MSERForEmotionGeneration
for offline in (False, True):
    huggingface_hub.constants.HF_HUB_OFFLINE = offline
    start = time.monotonic()
    try:
        MSERForEmotionGeneration.from_pretrained(sys.argv[1])
    except BackboneError as error:
        print(error.source, time.monotonic() - start)
"""


@pytest.mark.slow
def test_unreachable_backbone_fails_fast_and_is_named(small, tmp_path: Path):
    small.config.text_backbone = "someone/llama"
    small.save_pretrained(tmp_path / "saved")
    hub = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9"}  # the discard port
    command = [sys.executable, "-c", UNREACHABLE, str(tmp_path / "saved")]
    done = subprocess.run(command, env=os.environ | hub, cwd=ROOT, capture_output=True, text=True, check=True)
    failures = [line.split() for line in done.stdout.splitlines()]
    assert [source for source, _ in failures] == ["someone/llama"] * 2
    assert all(float(seconds) < 15 for _, seconds in failures)  # the libraries retry a single file for 23 s
