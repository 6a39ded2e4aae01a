# SPDX-License-Identifier: Apache-2.0
"""Loading a trained model, and what is told when there is none."""

import json
import shutil

import pytest
import torch

from mser_llm.inference.loading import ModelNotFoundError, load_model, pick_device


def test_a_saved_model_comes_back_ready_to_answer(tiny_model_dir, tiny):
    model, processor = load_model(str(tiny_model_dir), "cpu")
    assert not model.training
    assert processor.prompt_version == "v1"
    expected = tiny[0].state_dict()
    loaded = model.state_dict()
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[name], expected[name]) for name in expected)


def test_another_prompt_can_be_chosen(tiny_model_dir):
    assert load_model(str(tiny_model_dir), "cpu", prompt="v3")[1].prompt_version == "v3"
    with pytest.raises(ValueError, match="prompt 'v9' is not known; choose from v1"):
        load_model(str(tiny_model_dir), "cpu", prompt="v9")


def test_another_kind_of_model_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "whisper"}))
    with pytest.raises(ModelNotFoundError, match=r"config\.json: .* type 'whisper', none of mser, "):
        load_model(str(tmp_path))


@pytest.mark.parametrize("content", ["{", "[]", ""])
def test_a_spoilt_configuration_is_told(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ModelNotFoundError, match="is not JSON"):
        load_model(str(tmp_path))


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 12345\n"


@pytest.mark.parametrize(
    ("file", "damage", "told"),
    [
        ("model.safetensors", lambda content: POINTER, "git lfs pull"),
        ("model.safetensors", lambda content: content[:-1000], "bytes"),
        ("tokenizer.json", lambda content: content[:300], "bytes"),
        ("config.json", lambda content: content.replace(b'"emotion_words": [', b'"emotion_words": [4,'), "bytes"),
        ("config.json", lambda content: content.replace(b"happy", b"sappy"), "modified"),
    ],
)
def test_a_damaged_file_is_told_with_its_folder(tiny_model_dir, tmp_path, file, damage, told):
    shutil.copytree(tiny_model_dir, tmp_path / "model")
    content = (tmp_path / "model" / file).read_bytes()
    (tmp_path / "model" / file).write_bytes(damage(content))
    with pytest.raises(ValueError, match=f"{tmp_path / 'model' / file} .*{told}"):
        load_model(str(tmp_path / "model"), "cpu")


def test_a_folder_without_weights_is_told(tiny_model_dir, tmp_path):
    for path in tiny_model_dir.iterdir():
        if path.suffix != ".safetensors":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ValueError, match=str(tmp_path)):
        load_model(str(tmp_path), "cpu")


def test_devices():
    assert pick_device("cpu") == "cpu"
    assert pick_device("auto") in ("cpu", "cuda", "mps")
    with pytest.raises(ValueError, match="device 'abacus' cannot be used"):
        pick_device("abacus")
    with pytest.raises(ValueError, match=r"'meta'.*auto, cpu"):
        pick_device("meta")
