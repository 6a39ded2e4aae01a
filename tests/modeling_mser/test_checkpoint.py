# SPDX-License-Identifier: Apache-2.0
"""Checkpoints without their backbones: small, found again, verified, and never random."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, LlamaForCausalLM

from modeling_mser import BackboneError, ModifiedFilesError, MSERForEmotionGeneration


ROOT = Path(__file__).resolve().parents[2]


def test_backbones_are_loaded_left_out_of_the_checkpoint_and_found_again(backbones, small, tmp_path: Path):
    model = small
    whisper = load_file(backbones[0] / "model.safetensors")
    assert torch.equal(model.audio_tower.conv1.weight, whisper["model.encoder.conv1.weight"])
    assert torch.equal(
        model.language_model.lm_head.weight, load_file(backbones[1] / "model.safetensors")["lm_head.weight"]
    )
    saved = tmp_path / "saved"
    model.save_pretrained(saved)
    keys = set(load_file(saved / "model.safetensors"))
    assert keys and all(key.startswith(("emotion_qformer.", "projection.")) for key in keys)
    loaded = MSERForEmotionGeneration.from_pretrained(saved)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name

    model.save_pretrained(tmp_path / "whole", include_backbones=True)
    shutil.rmtree(backbones[0])
    shutil.rmtree(backbones[1])
    whole = MSERForEmotionGeneration.from_pretrained(tmp_path / "whole")
    assert torch.equal(whole.audio_tower.conv1.weight, model.audio_tower.conv1.weight)


def test_a_missing_backbone_is_an_error_with_its_cure_and_an_override_cures_it(backbones, small, tmp_path: Path):
    saved, moved = tmp_path / "saved", tmp_path / "moved"
    small.save_pretrained(saved)
    shutil.move(backbones[0], moved)
    with pytest.raises(BackboneError, match=r"audio backbone '.*whisper' cannot be loaded.*audio_backbone="):
        MSERForEmotionGeneration.from_pretrained(saved)
    loaded = MSERForEmotionGeneration.from_pretrained(saved, audio_backbone=str(moved))
    assert loaded.config.audio_backbone == str(moved)


def test_a_backbone_without_some_weights_or_of_another_shape_is_refused(backbones, small, tmp_path: Path):
    saved = tmp_path / "saved"
    small.save_pretrained(saved)
    file = backbones[0] / "model.safetensors"
    weights = load_file(file)
    save_file({k: v for k, v in weights.items() if k != "model.encoder.conv2.weight"}, file, metadata={"format": "pt"})
    with pytest.raises(BackboneError, match=r"model\.safetensors have other names"):
        MSERForEmotionGeneration.from_pretrained(saved)
    with pytest.raises(BackboneError, match=r"lacks 1 of the weights.*conv2.weight"):
        MSERForEmotionGeneration.from_pretrained(saved, accept_other_backbones=True)
    weights["model.encoder.conv2.weight"] = torch.zeros(16, 32, 3)
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(BackboneError, match=r"conv2.weight is \(16, 32, 3\) in the file and \(32, 32, 3\)"):
        MSERForEmotionGeneration.from_pretrained(saved, accept_other_backbones=True)


@pytest.mark.parametrize("lost", ["language_model.lm_head.weight", "emotion_qformer.query_tokens", "projection.bias"])
def test_a_checkpoint_that_lost_a_weight_is_refused(tiny, tmp_path: Path, lost: str):
    tiny[0].save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    weights = load_file(file)
    del weights[lost]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(BackboneError, match=f"lacks 1 weights, {lost}"), pytest.warns(match="model.safetensors"):
        MSERForEmotionGeneration.from_pretrained(tmp_path, accept_modified_files=True)


@pytest.mark.parametrize("name", ["projection.bias", "language_model.lm_head.weight", "audio_tower.conv1.weight"])
def test_tensors_of_another_shape_are_named_with_their_file(tiny, tmp_path: Path, name: str):
    tiny[0].save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    weights = load_file(file)
    weights[name] = weights[name][1:].contiguous()
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(ModifiedFilesError, match=r"model\.safetensors"):
        MSERForEmotionGeneration.from_pretrained(tmp_path)
    with pytest.raises(BackboneError, match=name), pytest.warns(match=r"model\.safetensors"):
        MSERForEmotionGeneration.from_pretrained(tmp_path, accept_modified_files=True)


def test_pickled_weights_of_a_model_are_refused(tiny, tmp_path: Path):
    tiny[0].save_pretrained(tmp_path)
    torch.save(load_file(tmp_path / "model.safetensors"), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ModifiedFilesError, match=r"model\.safetensors is missing"):
        MSERForEmotionGeneration.from_pretrained(tmp_path)
    with pytest.raises((OSError, ValueError), match=r"model\.safetensors"), pytest.warns():
        MSERForEmotionGeneration.from_pretrained(tmp_path, accept_modified_files=True)


def test_all_backbones_are_verified_before_one_is_loaded(backbones, small, tmp_path: Path, monkeypatch):
    small.save_pretrained(tmp_path / "saved")
    flip(backbones[1] / "model.safetensors", -10)
    monkeypatch.setattr(MSERForEmotionGeneration, "load_audio", lambda *_, **__: pytest.fail("loaded"))
    with pytest.raises(BackboneError, match=r"text backbone .* in model\.safetensors"):
        MSERForEmotionGeneration.from_pretrained(tmp_path / "saved")


def flip(file: Path, place: int, bit: int = 6) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 1 << bit
    file.write_bytes(content)


@pytest.mark.parametrize("part", [0, 1])
def test_one_flipped_bit_in_a_backbone_is_an_error(backbones, small, tmp_path: Path, part: int):
    small.save_pretrained(tmp_path / "saved")
    file = backbones[part] / "model.safetensors"
    intact = file.read_bytes()
    with safe_open(file, "pt") as tensors:
        name = sorted(name for name in tensors.keys() if "decoder" not in name)[3]  # noqa: SIM118
    header = json.loads(intact[8 : 8 + int.from_bytes(intact[:8], "little")])
    start, end = header[name]["data_offsets"]
    begin = 8 + int.from_bytes(intact[:8], "little") + start
    for place in range(begin, begin + end - start, (end - start) // 8):  # the sampled middle is a small part of these
        file.write_bytes(intact)
        flip(file, place)
        with pytest.raises(BackboneError, match=r"in model\.safetensors among them"):
            MSERForEmotionGeneration.from_pretrained(tmp_path / "saved")


def test_backbones_are_not_built_at_random_before_they_are_loaded(backbones, monkeypatch: pytest.MonkeyPatch):
    """A language model of 8 billion parameters would take 32 GB more, and minutes."""
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    monkeypatch.setattr(AutoModelForCausalLM, "from_config", lambda *_, **__: pytest.fail("built at random"))
    model = MSERForEmotionGeneration.from_backbones(*map(str, backbones), qformer_config=sizes, num_query_tokens=4)
    stored = load_file(backbones[1] / "model.safetensors")
    assert torch.equal(model.language_model.lm_head.weight, stored["lm_head.weight"])
    assert model.config.freeze_text and not any(value.requires_grad for value in model.language_model.parameters())


def test_a_checkpoint_without_backbones_weighs_what_was_trained(backbones, tmp_path: Path):
    sizes = {"hidden_size": 192, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 768}
    model = MSERForEmotionGeneration.from_backbones(*map(str, backbones), qformer_config=sizes)
    trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    model.save_pretrained(tmp_path / "saved")
    written = sum(file.stat().st_size for file in (tmp_path / "saved").iterdir())
    assert trained < written < 1.2 * trained


def test_another_backbone_of_the_same_shape_is_refused_unless_it_is_accepted(backbones, small, tmp_path: Path):
    saved, other = tmp_path / "saved", tmp_path / "other"
    small.save_pretrained(saved)
    LlamaForCausalLM(small.config.text_config).save_pretrained(other)
    with pytest.raises(BackboneError, match=r"text backbone '.*other' is not the one .*accept_other_backbones=True"):
        MSERForEmotionGeneration.from_pretrained(saved, text_backbone=str(other))
    loaded = MSERForEmotionGeneration.from_pretrained(saved, text_backbone=str(other), accept_other_backbones=True)
    expected = load_file(other / "model.safetensors")["lm_head.weight"]
    assert torch.equal(loaded.language_model.lm_head.weight, expected)
    # What was accepted is what a checkpoint of it asks for.
    loaded.save_pretrained(tmp_path / "again")
    MSERForEmotionGeneration.from_pretrained(tmp_path / "again")
    shutil.rmtree(backbones[1])
    shutil.copytree(other, backbones[1])
    with pytest.raises(BackboneError, match=r"tensors hold other values, .* among them"):
        MSERForEmotionGeneration.from_pretrained(saved)


def test_a_backbone_named_to_an_auto_class_comes_without_the_revision_of_the_other(backbones, small, tmp_path: Path):
    small.config.text_backbone_revision = "0123abc"
    small.save_pretrained(tmp_path / "saved")
    other = str(shutil.copytree(backbones[1], tmp_path / "other"))
    for revision in ({}, {"text_backbone_revision": "main"}):
        loaded = AutoModel.from_pretrained(tmp_path / "saved", text_backbone=other, **revision)
        named = loaded.config.text_backbone, loaded.config.text_backbone_revision
        assert named == (other, revision.get("text_backbone_revision"))
    config = AutoConfig.from_pretrained(tmp_path / "saved", text_backbone=other)  # as `pipeline` reads it first
    assert (config.text_backbone, config.text_backbone_revision) == (other, None)
    kept = AutoModel.from_pretrained(tmp_path / "saved", text_backbone=str(backbones[1]))
    assert kept.config.text_backbone_revision == "0123abc"
    small.save_pretrained(tmp_path / "whole", include_backbones=True)
    with pytest.raises(BackboneError, match=r"holds its text part itself, as it was trained; leave text_backbone="):
        AutoModel.from_pretrained(tmp_path / "whole", text_backbone=other)


def test_the_same_backbone_in_half_precision_is_the_same(backbones, small, tmp_path: Path):
    saved = tmp_path / "saved"
    small.save_pretrained(saved)
    half = LlamaForCausalLM.from_pretrained(backbones[1], dtype=torch.bfloat16)
    half.save_pretrained(backbones[1], max_shard_size="40KB")
    assert len(list(backbones[1].glob("*.safetensors"))) > 1
    loaded = MSERForEmotionGeneration.from_pretrained(saved)
    torch.testing.assert_close(
        loaded.language_model.lm_head.weight, small.language_model.lm_head.weight, atol=1e-3, rtol=1e-2
    )


def test_a_checkpoint_that_holds_its_parts_takes_no_backbone(tiny, small, tmp_path: Path):
    for model in (tiny[0], small):
        model.save_pretrained(tmp_path, include_backbones=True)
        with pytest.raises(BackboneError, match="holds its audio part itself"):
            MSERForEmotionGeneration.from_pretrained(tmp_path, audio_backbone="openai/whisper-tiny")


def test_saved_again_a_checkpoint_holds_what_it_held(small, tmp_path: Path):
    small.save_pretrained(tmp_path / "whole", include_backbones=True)
    small.save_pretrained(tmp_path / "bare")
    for name in ("whole", "bare"):
        MSERForEmotionGeneration.from_pretrained(tmp_path / name).save_pretrained(tmp_path / "again")
        first, again = (set(load_file(tmp_path / folder / "model.safetensors")) for folder in (name, "again"))
        assert first == again
        assert json.loads((tmp_path / "again" / "config.json").read_text())["includes_backbones"] == (name == "whole")


def test_a_pytorch_built_for_gpus_spreads_nothing_over_those_that_are_not_there(small, tmp_path, monkeypatch):
    """As PyPI's is on a machine without one."""
    small.save_pretrained(tmp_path)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    loaded = MSERForEmotionGeneration.from_pretrained(tmp_path, device_map="auto")
    assert {parameter.device.type for parameter in loaded.parameters()} == {"cpu"}


def test_precision_placement_and_attention_reach_the_backbones(small, tmp_path: Path):
    small.save_pretrained(tmp_path)
    loaded = MSERForEmotionGeneration.from_pretrained(
        tmp_path, dtype=torch.bfloat16, device_map="auto", attn_implementation="eager"
    )
    assert loaded.language_model.lm_head.weight.dtype == loaded.audio_tower.conv1.weight.dtype == torch.bfloat16
    assert {parameter.dtype for parameter in loaded.emotion_qformer.parameters()} == {torch.float32}
    assert {parameter.device.type for parameter in loaded.parameters()} <= {"cpu", "cuda", "mps", "xpu"}
    for part in (loaded.language_model, loaded.audio_tower, loaded.emotion_qformer.qformer):
        assert part.config._attn_implementation == "eager"
    # How it was loaded is not how it was trained.
    loaded.save_pretrained(tmp_path / "again")
    assert MSERForEmotionGeneration.from_pretrained(tmp_path / "again", dtype=torch.float32).dtype == torch.float32


@torch.no_grad()
def shaken(module: torch.nn.Module) -> None:
    for parameter in module.parameters():
        parameter.add_(0.3 * torch.randn_like(parameter))


@pytest.mark.parametrize("part", ["audio", "text"])
def test_a_backbone_that_was_trained_before_it_was_frozen_is_saved(backbones, small, tmp_path: Path, part: str):
    trained = MSERForEmotionGeneration.from_backbones(
        *map(str, backbones), qformer_config=small.config.qformer_config.to_dict(), num_query_tokens=4,
        **{f"freeze_{part}": False},
    )  # fmt: skip
    name = {"audio": "audio_tower", "text": "language_model"}[part]
    shaken(getattr(trained, name))
    trained.save_pretrained(tmp_path / "first")
    second = MSERForEmotionGeneration.from_pretrained(tmp_path / "first")
    second.freeze(**{part: True})
    for folder in ("second", "third"):  # what was kept once is kept again
        second.save_pretrained(tmp_path / folder)
        second = MSERForEmotionGeneration.from_pretrained(tmp_path / folder)
        assert getattr(second.config, f"{part}_backbone") == str(backbones[part == "text"])
        weights = getattr(second, name).state_dict()
        for key, value in getattr(trained, name).state_dict().items():
            assert torch.equal(weights[key], value), key


def test_each_part_comes_back_in_the_precision_that_it_was_saved_in(backbones, small, tmp_path: Path):
    trained = MSERForEmotionGeneration.from_backbones(
        *map(str, backbones), dtype=torch.bfloat16, qformer_config=small.config.qformer_config.to_dict(),
        num_query_tokens=4, freeze_text=False,
    )  # fmt: skip
    trained.language_model.float()
    shaken(trained.language_model)
    for include in (False, True):
        trained.save_pretrained(tmp_path, include_backbones=include)
        for _ in range(2):  # saved again without a change of either
            loaded = MSERForEmotionGeneration.from_pretrained(tmp_path)
            assert {value.dtype for value in loaded.audio_tower.parameters()} == {torch.bfloat16}
            assert {value.dtype for value in loaded.language_model.parameters()} == {torch.float32}
            assert torch.equal(loaded.language_model.lm_head.weight, trained.language_model.lm_head.weight)
            loaded.save_pretrained(tmp_path)


def test_the_older_name_of_the_precision_reaches_the_backbones(small, tmp_path: Path):
    small.save_pretrained(tmp_path)
    loaded = MSERForEmotionGeneration.from_pretrained(tmp_path, torch_dtype="bfloat16")
    assert {loaded.audio_tower.dtype, loaded.language_model.dtype} == {torch.bfloat16}


def test_a_limit_of_memory_spreads_the_language_model(small, tmp_path: Path):
    small.save_pretrained(tmp_path / "saved")
    limits = {"max_memory": {"cpu": 300_000}, "offload_folder": str(tmp_path / "rest")}
    loaded = MSERForEmotionGeneration.from_pretrained(tmp_path / "saved", device_map="auto", **limits)
    assert set(loaded.hf_device_map.values()) == {"cpu", "disk"}
    embeds = torch.randn(1, 3, 64)
    expected = small.language_model(inputs_embeds=embeds).logits
    torch.testing.assert_close(loaded.language_model(inputs_embeds=embeds).logits, expected)


def test_a_language_model_with_more_tokens_is_saved(small, tmp_path: Path):
    small.resize_token_embeddings(410)
    small.save_pretrained(tmp_path)
    loaded = MSERForEmotionGeneration.from_pretrained(tmp_path)
    assert torch.equal(loaded.get_input_embeddings().weight, small.get_input_embeddings().weight)


# The discard port: a connection to it is refused.
NOBODY = "http://127.0.0.1:9"
UNREACHABLE = """
import sys, time
from modeling_mser import BackboneError, ModifiedFilesError, MSERForEmotionGeneration
start = time.monotonic()
try:
    MSERForEmotionGeneration.from_pretrained(sys.argv[1])
except BackboneError as error:
    print(error)
print(time.monotonic() - start)
"""


@pytest.mark.slow
@pytest.mark.parametrize("variables", [{"HF_HUB_OFFLINE": "1"}, {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": NOBODY}])
def test_an_unreachable_backbone_is_an_error_with_its_id_and_the_cure(small, tmp_path: Path, variables):
    small.config.text_backbone = "someone/llama"
    small.save_pretrained(tmp_path / "saved")
    done = subprocess.run(
        [sys.executable, "-c", UNREACHABLE, str(tmp_path / "saved")],
        env={**os.environ, "HF_HOME": str(tmp_path / "home"), **variables},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    told, seconds = done.stdout.splitlines()
    assert "the text backbone 'someone/llama' cannot be loaded" in told and "text_backbone=" in told
    # The libraries' own patience with a single file is 23 s.
    assert float(seconds) < 15
